package cpesim

import (
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Answers is how the answers of a CPE depart from the standard, and what it does
// not survive. It is a part of Profile.
type Answers struct {
	// EmptyPathIsNothing answers GetParameterNames of the empty path with no
	// names.
	EmptyPathIsNothing bool
	// NoSubtrees answers GetParameterNames with no names unless NextLevel is
	// set: Yeacomm.
	NoSubtrees bool
	// WholeSubtrees answers GetParameterNames as if NextLevel was not set.
	WholeSubtrees bool
	// LeavesOnly names no objects.
	LeavesOnly bool
	// NothingWritable says of every name that it is read-only.
	NothingWritable bool

	// ManyNamesFault is the fault of Profile.MaxValueNames in place of 9004:
	// 9002 is Grandstream's.
	ManyNamesFault cwmp.FaultCode
	// LeaveOut leaves each n-th value out of a GetParameterValuesResponse that
	// has more than one: Huawei.
	LeaveOut int
	// ReportsStrings gives every value as a string, though it insists on the
	// right types when it is set.
	ReportsStrings bool

	// MaxSetValues and MaxSetAttributes above 0 refuse more values of a
	// SetParameterValues and more entries of a SetParameterAttributes: 9004.
	MaxSetValues, MaxSetAttributes int
	// ManyValuesFault is the fault of MaxSetValues in place of 9004.
	ManyValuesFault cwmp.FaultCode
	// OnlyDigits refuses booleans spelt in letters with 9007 (TP-Link TD-W9970),
	// OnlyWords those spelt in digits.
	OnlyDigits, OnlyWords bool
	// RefuseToSet are parameters that cannot be set, whatever they are said to
	// be, with the fault.
	RefuseToSet map[cwmp.Path]cwmp.FaultCode
	// DenyAfterBoot refuses to be set for that long after a boot with 9001:
	// Baicells.
	DenyAfterBoot time.Duration
	// IgnoreAttributes takes SetParameterAttributes and does nothing.
	IgnoreAttributes bool

	// UnlistedMethods are served but not named by GetRPCMethods.
	UnlistedMethods []string
	// InformRoot is the root object of the parameters in Informs: Google Fiber
	// informs with InternetGatewayDevice and answers with Device.
	InformRoot cwmp.Path

	// What the CPE does not survive: it loses its connection without an answer,
	// each time.

	// DieOnTree is GetParameterNames of the whole tree.
	DieOnTree bool
	// DieAboveNames is a GetParameterValues of more names than that.
	DieAboveNames int
	// DieOn are objects and parameters whose name is asked for.
	DieOn []cwmp.Path
	// DieOnUnknown is GetParameterValues of a name that it does not have.
	DieOnUnknown bool
	// DieOnPartialPath is GetParameterValues of a partial path.
	DieOnPartialPath bool
	// DieAfterRPCs is that many RPCs in one session.
	DieAfterRPCs int
}

// dies reports whether the CPE does not survive a request, the n-th of its
// session. c.mu is held.
func (c *CPE) dies(request cwmp.Message, n int) bool {
	a := &c.profile.Answers
	if request.RPC() == c.profile.DieAt && (!c.profile.DieOnce || c.first(request.RPC())) || a.DieAfterRPCs > 0 && n > a.DieAfterRPCs {
		return true
	}
	switch m := request.(type) {
	case *cwmp.GetParameterNames:
		tree := m.Path == "" && !c.profile.RefuseEmptyPath && !a.EmptyPathIsNothing || m.Path == c.tree.model.root
		return a.DieOnTree && tree && !m.NextLevel || slices.Contains(a.DieOn, m.Path)
	case *cwmp.GetParameterValues:
		if a.DieAboveNames > 0 && len(m.Names) > a.DieAboveNames {
			return true
		}
		return slices.ContainsFunc(m.Names, func(name cwmp.Path) bool {
			return a.DieOnPartialPath && name.IsPartial() || a.DieOnUnknown && len(c.resolve(name)) == 0 || slices.Contains(a.DieOn, name)
		})
	}
	return false
}

// say makes of names what the CPE says of them.
func (a *Answers) say(names []cwmp.ParameterInfo) []cwmp.ParameterInfo {
	said := names[:0]
	for _, n := range names {
		if a.LeavesOnly && n.Name.IsPartial() {
			continue
		}
		n.Writable = n.Writable && !a.NothingWritable
		said = append(said, n)
	}
	return said
}

// thin leaves out what LeaveOut says.
func (a *Answers) thin(values []cwmp.ParameterValue) []cwmp.ParameterValue {
	if a.LeaveOut == 0 || len(values) < 2 {
		return values
	}
	kept := values[:0]
	for i, v := range values {
		if (i+1)%a.LeaveOut != 0 {
			kept = append(kept, v)
		}
	}
	return kept
}

// spelling refuses a boolean that is spelt in a way the CPE does not take.
func (a *Answers) spelling(v cwmp.ParameterValue) bool {
	if v.Value.Type != cwmp.TypeBoolean {
		return true
	}
	digits := v.Value.Text == "0" || v.Value.Text == "1"
	return !(a.OnlyDigits && !digits || a.OnlyWords && digits)
}

// underInformRoot renames the parameters of an Inform.
func (a *Answers) underInformRoot(list []cwmp.ParameterValue) {
	if a.InformRoot == "" {
		return
	}
	for i := range list {
		list[i].Name = a.InformRoot + cwmp.Path(strings.TrimPrefix(string(list[i].Name), string(list[i].Name.Root())))
	}
}
