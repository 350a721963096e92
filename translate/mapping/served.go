package mapping

import (
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/mappings"
)

// Class is the way in which CWMP serves a command or an event of Device:2.
type Class string

// The classes of the tables.
const (
	ClassDiagnostic  Class = "diag"        // arguments and DiagnosticsState are written, results read
	ClassTrigger     Class = "trigger"     // a parameter is written
	ClassRPC         Class = "rpc"         // an RPC, of the ACS or of the CPE
	ClassComposed    Class = "emul"        // several of these
	ClassAgent       Class = "proxy"       // the agent's own
	ClassInform      Class = "inform"      // an event of the Inform
	ClassValueChange Class = "valuechange" // a parameter's notification
	ClassNone        Class = "none"        // CWMP has nothing like it
)

// Served is how one command of Device:2 is served.
type Served struct {
	Command string // schema path, "Device.IP.Diagnostics.IPPing()"
	Class   Class
	homes   map[cwmp.Path]*Home
}

// Home returns where a CPE of a root data model has the command; nil if CWMP has
// none there, and for what is no diagnostic and no trigger.
func (s *Served) Home(root cwmp.Path) *Home { return s.homes[root] }

// Home is where CPE of one root data model have a command.
type Home struct {
	Object  string // schema path, ends in "."
	Start   string // the parameter that starts it, relative to Object
	In, Out []Argument
}

// Argument is an argument of a command and the CWMP parameter that it is in,
// relative to Home.Object; "" if there is none.
type Argument struct{ Name, Param string }

// ServedEvent is how one event of Device:2 comes from a CPE.
type ServedEvent struct {
	Event  string // schema path, "Device.Boot!"
	Class  Class
	source string     // ClassValueChange: the parameter whose change it is
	args   []Argument // ClassValueChange: with full paths
}

// Source returns the parameter of a TR-181 CPE whose change the event is; "" for
// other events.
func (e *ServedEvent) Source() string { return e.source }

// Commands returns how each command of Device:2 is served, in the order of the
// table.
func Commands() ([]*Served, error) {
	var list []*Served
	for line := range strings.Lines(mappings.Commands) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(c) != 8 {
			return nil, fmt.Errorf("table of commands: %d columns in %q", len(c), line)
		}
		s := &Served{Command: c[0], Class: Class(c[1]), homes: map[cwmp.Path]*Home{}}
		if s.Class == ClassDiagnostic || s.Class == ClassTrigger {
			s.add("Device.", c[2], c[3], c[4])
			s.add("InternetGatewayDevice.", c[5], c[6], c[7])
		}
		list = append(list, s)
	}
	return list, nil
}

// add adds the home of one root. A diagnostic's source is an object and its
// arguments are relative to it; a trigger's is a parameter, and all paths are
// full.
func (s *Served) add(root cwmp.Path, source, in, out string) {
	if source == "" {
		return
	}
	h := &Home{Object: source, In: arguments(in), Out: arguments(out)}
	if s.Class == ClassTrigger {
		i := strings.LastIndexByte(source, '.') + 1
		h.Object, h.Start = source[:i], source[i:]
		for k := range h.In {
			h.In[k].Param = strings.TrimPrefix(h.In[k].Param, h.Object)
		}
	} else {
		h.namesakes()
		h.Start = macTestState
		for _, a := range h.Out {
			if a.Name == "Status" {
				h.Start = a.Param
			}
		}
	}
	s.homes[root] = h
}

// namesakes gives arguments for which the standard has no parameter that of their
// name: earlier issues had some, and CPE have others. An Interface that says which
// of several objects is meant is none.
func (h *Home) namesakes() {
	for _, list := range [][]Argument{h.In, h.Out} {
		for k := range list {
			if a := &list[k]; a.Param == "" && (a.Name != "Interface" || !strings.Contains(h.Object, "{i}")) {
				a.Param = a.Name
			}
		}
	}
}

// macTestState is the state of the one diagnostic that has no Status.
const macTestState = "MACTestState"

// arguments reads "name=parameter" joined by bars.
func arguments(cell string) (list []Argument) {
	if cell == "" {
		return nil
	}
	for item := range strings.SplitSeq(cell, "|") {
		name, param, _ := strings.Cut(item, "=")
		if param == "-" {
			param = ""
		}
		list = append(list, Argument{name, param})
	}
	return list
}

// Events returns how each event of Device:2 is served.
func Events() ([]*ServedEvent, error) {
	var list []*ServedEvent
	for line := range strings.Lines(mappings.Events) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(c) != 4 {
			return nil, fmt.Errorf("table of events: %d columns in %q", len(c), line)
		}
		e := &ServedEvent{Event: c[0], Class: Class(c[1])}
		if e.Class == ClassValueChange && !strings.HasSuffix(c[2], "NumberOfEntries") {
			// That a table has more rows is an event without arguments: what is
			// in the row is read later.
			e.source, e.args = c[2], arguments(c[3])
		}
		list = append(list, e)
	}
	return list, nil
}
