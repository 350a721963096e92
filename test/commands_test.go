package test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// TestCommandsAndEvents runs every command that a CPE can serve, through USP to its
// end, and compares it with what the CPE has recorded; and has every event told
// that a CPE can tell. What came of it is docs/commands-and-events.md.
func TestCommandsAndEvents(t *testing.T) {
	page := newServing(t)
	for _, g := range []struct{ name, model string }{{"TR-181", "tr181"}, {"TR-098", "tr098"}} {
		t.Run(g.name, func(t *testing.T) {
			root := cwmp.Path(gatewayRoot(g.name))
			p := newPlay(t, wideModel(t, g.model, root), root)
			p.commands(page.of[g.name])
			p.events(page.of[g.name])
		})
	}
	page.compare(t)
}

func gatewayRoot(name string) string {
	if name == "TR-098" {
		return "InternetGatewayDevice."
	}
	return "Device."
}

// play is a bridge with one CPE that has everything.
type play struct {
	t          *testing.T
	root       cwmp.Path
	env        *testenv.Env
	cpe        *testenv.CPE
	controller *testenv.Controller
	ended      string // subscription to the ends of all operations
	mirror     *httptest.Server

	has   map[string]bool // commands and events of the supported data model, by schema path
	heard map[string]bool // events that were told
}

func newPlay(t *testing.T, model *cpesim.Model, root cwmp.Path) *play {
	p := &play{t: t, root: root, env: testenv.Start(t, program, testenv.Config{}), has: map[string]bool{}, heard: map[string]bool{}}
	p.cpe = p.env.CPEWith(cpesim.Config{Model: model, JournalSize: 1 << 14})
	p.controller = p.env.Controller()
	p.ended = p.controller.Subscribe(p.cpe.Agent, "OperationComplete", "Device.")
	for _, event := range []string{"Device.Boot!", "Device.LocalAgent.TransferComplete!", "Device.SoftwareModules.DUStateChange!"} {
		p.controller.Subscribe(p.cpe.Agent, "Event", event)
	}
	p.mirror = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("image ", 1000))) // one who has gone does not get it
	}))
	t.Cleanup(p.mirror.Close)
	resp, err := p.controller.GetSupportedDM(t.Context(), p.cpe.Agent, &usppb.GetSupportedDM{
		ObjPaths: []string{"Device."}, ReturnCommands: true, ReturnEvents: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.GetReqObjResults() {
		for _, o := range r.GetSupportedObjs() {
			for _, c := range o.GetSupportedCommands() {
				p.has[o.GetSupportedObjPath()+c.GetCommandName()] = true
			}
			for _, e := range o.GetSupportedEvents() {
				p.has[o.GetSupportedObjPath()+e.GetEventName()] = true
			}
		}
	}
	return p
}

// commands runs all commands that the agent has and a CPE carries out.
func (p *play) commands(out map[string]string) {
	all, err := mapping.Commands()
	if err != nil {
		p.t.Fatal(err)
	}
	var last []*mapping.Served // what reboots the CPE
	for _, c := range all {
		switch {
		case !p.has[c.Command]:
			out[c.Command] = ""
		case c.Class == mapping.ClassAgent, slices.Contains([]string{"Device.ScheduleTimer()", "Device.BulkData.Profile.{i}.ForceCollection()"}, c.Command):
			out[c.Command] = byAgent
		case strings.Contains(c.Command, "FirmwareImage") || c.Command == "Device.Reboot()" || c.Command == "Device.FactoryReset()":
			last = append(last, c)
		default:
			out[c.Command] = p.run(c)
		}
	}
	slices.SortStableFunc(last, func(a, b *mapping.Served) int { return strings.Compare(order(a), order(b)) })
	for _, c := range last {
		out[c.Command] = p.run(c)
	}
}

// order is that in which commands are run that end in a reboot.
func order(c *mapping.Served) string {
	for i, name := range []string{"Download()", "Activate()", "Reboot()", "FactoryReset()"} {
		if strings.HasSuffix(c.Command, name) {
			return strconv.Itoa(i)
		}
	}
	return ""
}

// run runs one command, and returns what became of it.
func (p *play) run(c *mapping.Served) (outcome string) {
	outcome = failed
	p.t.Run(c.Command, func(t *testing.T) {
		step := &step{play: p, T: t, served: c, home: c.Home(p.root)}
		step.path = step.instance(c.Command)
		step.before = len(p.cpe.Journal())
		switch {
		case step.home != nil && c.Class == mapping.ClassDiagnostic:
			step.diagnostic()
		case step.home != nil:
			step.trigger()
		default:
			step.rpc()
		}
		if !t.Failed() {
			outcome = carriedOut
		}
	})
	return outcome
}

// step is one command that is run.
type step struct {
	*play
	*testing.T
	served *mapping.Served
	home   *mapping.Home
	path   string // with instance numbers
	before int    // entries of the CPE's journal
}

// instance returns a path with the first row of each table.
func (s *step) instance(schema string) string {
	s.Helper()
	path := ""
	for rest := schema; ; {
		head, tail, more := strings.Cut(rest, "{i}.")
		path += head
		if !more {
			return path
		}
		rows := s.controller.Instances(s.cpe.Agent, path)
		if len(rows) == 0 {
			s.Fatalf("%s has no rows", path)
		}
		if path = rows[0]; s.second(schema) {
			path = rows[1]
		}
		rest = tail
	}
}

// second reports whether a command is run on the second row of its table: of
// firmware images the first is the active one; of the IP interfaces of a TR-098 CPE
// the first is that of its LAN, which nothing resets.
func (s *step) second(schema string) bool {
	return strings.Contains(schema, "FirmwareImage") || s.root != "Device." && strings.HasPrefix(schema, "Device.IP.Interface.")
}

// arguments returns a value for each argument that the CPE can be told, and for
// those that are mandatory.
func (s *step) arguments() map[string]string {
	all, err := device2()
	if err != nil {
		s.Fatal(err)
	}
	args := map[string]string{}
	for path, e := range all {
		name, ok := strings.CutPrefix(path, s.served.Command+".Input.")
		if !ok || e.kind != "inarg" || strings.Contains(name, ".") && !strings.HasPrefix(name, "{i}") && s.home == nil {
			continue
		}
		told := s.home != nil && slices.ContainsFunc(s.home.In, func(a mapping.Argument) bool { return a.Name == name && a.Param != "" })
		switch {
		case e.path && e.mandatory:
			args[name] = "" // see ask
		case e.path:
		case told:
			args[name] = sample(e)
		case e.mandatory:
			args[name] = sample(e)
		}
	}
	return args
}

// object is where the CPE has the command.
func (s *step) object() string { return strings.ReplaceAll(s.home.Object, "{i}", "1") }

// operate runs the command, to its end, and returns its output arguments.
func (s *step) operate(args map[string]string) map[string]string {
	s.Helper()
	r := s.result(s.ask(args))
	if r.GetReqObjPath() == "" {
		return r.GetReqOutputArgs().GetOutputArgs()
	}
	over := time.After(testenv.Patience)
	for {
		select {
		case n, ok := <-s.controller.Notifications():
			if !ok {
				s.Fatal("the connection broke")
			}
			if e := n.Notify.GetEvent(); e != nil {
				s.play.heard[e.GetObjPath()+e.GetEventName()] = true
			}
			o := n.Notify.GetOperComplete()
			if o == nil || o.GetCommandKey() != s.path {
				continue
			}
			if f := o.GetCmdFailure(); f != nil || o.GetObjPath()+o.GetCommandName() != s.path {
				s.Fatalf("OperationComplete is %v", o)
			}
			return o.GetReqOutputArgs().GetOutputArgs()
		case <-over:
			s.Fatalf("%s has not ended within %v", s.path, testenv.Patience)
		}
	}
}

// ask runs the command.
func (s *step) ask(args map[string]string) *usppb.OperateResp {
	s.Helper()
	if _, needed := args["Interface"]; needed {
		args["Interface"] = "Device.PPP.Interface.1" // a WAN connection, which has a line below it
	}
	resp, err := s.controller.Client.Operate(s.Context(), s.cpe.Agent, &usppb.Operate{Command: s.path, CommandKey: s.path, SendResp: true, InputArgs: args})
	if err != nil {
		s.Fatal(err)
	}
	return resp
}

// result returns the result of the one command.
func (s *step) result(resp *usppb.OperateResp) *usppb.OperateResp_OperationResult {
	s.Helper()
	results := resp.GetOperationResults()
	if len(results) != 1 || results[0].GetCmdFailure() != nil {
		s.Fatalf("Operate: %v", resp)
	}
	return results[0]
}

// written returns what the CPE was set since the command was run.
func (s *step) written() map[cwmp.Path]string {
	all := map[cwmp.Path]string{}
	for _, e := range s.cpe.Journal()[s.before:] {
		if m, ok := e.Request.(*cwmp.SetParameterValues); ok && e.Fault == nil {
			for _, v := range m.Values {
				all[v.Name] = v.Value.Text
			}
		}
	}
	return all
}

// told compares arguments with what the CPE was set.
func (s *step) told(args map[string]string, start string) {
	s.Helper()
	set := s.written()
	for _, a := range s.home.In {
		if want, given := args[a.Name]; given && a.Param != "" && !alike(set[cwmp.Path(s.object()+a.Param)], want) {
			s.Errorf("%s was set to %q, want %q", s.object()+a.Param, set[cwmp.Path(s.object()+a.Param)], want)
		}
	}
	if name := cwmp.Path(s.object() + s.home.Start); start != "" && !alike(set[name], start) {
		s.Errorf("%s was set to %q, want %q", name, set[name], start)
	}
}

// alike compares values: booleans have two spellings.
func alike(a, b string) bool {
	spell := strings.NewReplacer("true", "1", "false", "0")
	return a == b || (b == "true" || b == "false") && spell.Replace(a) == spell.Replace(b)
}

// diagnostic compares what a diagnostic was told, and what it has found, with
// the CPE's own parameters.
func (s *step) diagnostic() {
	args := s.arguments()
	out := s.operate(args)
	s.told(args, mapping.Requested)
	found := 0
	for _, a := range s.home.Out {
		if a.Param == "" || a.Name == "Status" {
			continue
		}
		found++
		s.found(out, a, 1)
	}
	if status, given := out["Status"]; given == (s.home.Start == "MACTestState") || given && (status == "" || strings.HasPrefix(status, "Error")) {
		s.Errorf("Status is %q", status)
	}
	if found > 0 && len(out) == 0 {
		s.Error("no results")
	}
}

// found compares one output argument, in the first row of its tables.
func (s *step) found(out map[string]string, a mapping.Argument, row int) {
	name := strings.ReplaceAll(a.Name, "{i}", strconv.Itoa(row))
	for number := range 100 { // the CPE's rows have other numbers each time
		want, there := s.cpe.Get(s.object() + strings.ReplaceAll(a.Param, "{i}", strconv.Itoa(number)))
		if !there {
			continue
		}
		if !alike(out[name], want) {
			s.Errorf("%s is %q, on the CPE %q", name, out[name], want)
		}
		return
	}
}

func (s *step) trigger() {
	args := s.arguments()
	s.operate(args)
	start := "true"
	for _, a := range s.home.In {
		if a.Param == s.home.Start {
			start = args[a.Name]
		}
	}
	s.told(args, start)
}

// rpcs are the commands that are RPCs: their arguments, and what the CPE must have
// been asked.
func (s *step) rpc() {
	image := s.mirror.URL + "/gateway-8.1.0.bin"
	upload := map[string]string{"URL": "file:" + strconv.Itoa(s.before) + ".txt"}
	for suffix, how := range map[string]struct {
		args map[string]string
		want func(m cwmp.Message) bool
	}{
		".Reboot()":       {nil, func(m cwmp.Message) bool { _, ok := m.(*cwmp.Reboot); return ok }},
		".FactoryReset()": {nil, func(m cwmp.Message) bool { _, ok := m.(*cwmp.FactoryReset); return ok }},
		".Download()": {map[string]string{"URL": image, "AutoActivate": "false"}, func(m cwmp.Message) bool {
			d, ok := m.(*cwmp.Download)
			return ok && d.FileType == "6 Stored Firmware Image"
		}},
		".Activate()": {nil, func(m cwmp.Message) bool {
			d, ok := m.(*cwmp.Download)
			_, boots := m.(*cwmp.Reboot)
			return ok && d.FileType == "1 Firmware Upgrade Image" || boots && s.root == "Device."
		}},
		".Backup()": {upload, func(m cwmp.Message) bool {
			u, ok := m.(*cwmp.Upload)
			return ok && (u.FileType == "3 Vendor Configuration File 1" || u.FileType == "1 Vendor Configuration File")
		}},
		".Restore()": {map[string]string{"URL": s.mirror.URL + "/config.xml"}, func(m cwmp.Message) bool {
			d, ok := m.(*cwmp.Download)
			return ok && d.FileType == "3 Vendor Configuration File"
		}},
		".Upload()": {upload, func(m cwmp.Message) bool {
			u, ok := m.(*cwmp.Upload)
			return ok && (u.FileType == "4 Vendor Log File 1" || u.FileType == "2 Vendor Log File")
		}},
		".InstallDU()": {map[string]string{"URL": s.mirror.URL + "/unit"}, changes("Install")},
		".Update()":    {map[string]string{"URL": s.mirror.URL + "/unit"}, changes("Update")},
		".Uninstall()": {nil, changes("Uninstall")},
		"ExecEnv.1.Restart()": {nil, func(m cwmp.Message) bool {
			v, ok := m.(*cwmp.SetParameterValues)
			return ok && v.Values[0].Name == s.root+"SoftwareModules.ExecEnv.1.Enable" && v.Values[0].Value.Text == "1"
		}},
		"ExecutionUnit.1.Restart()": {nil, func(m cwmp.Message) bool {
			v, ok := m.(*cwmp.SetParameterValues)
			return ok && v.Values[0].Name == s.root+"SoftwareModules.ExecutionUnit.1.RequestedState" && v.Values[0].Value.Text == "Active"
		}},
	} {
		if !strings.HasSuffix(s.path, suffix) {
			continue
		}
		args := s.arguments()
		maps.Copy(args, how.args)
		s.operate(args)
		if s.path == "Device.DeviceInfo.FirmwareImage.2.Download()" && s.root != "Device." {
			s.stored()
			return
		}
		testenv.Until(s, "the CPE has been asked", func() bool {
			return slices.ContainsFunc(s.cpe.Journal()[s.before:], func(e cpesim.Entry) bool { return how.want(e.Request) })
		})
		testenv.Until(s, "the CPE is back", func() bool { return s.cpe.Online() })
		s.cpe.AwaitDiscovery()
		return
	}
	s.Fatalf("nothing is known of what %s does", s.served.Command)
}

// stored expects that the bridge keeps an image that the CPE knows nothing of.
func (s *step) stored() {
	if got := s.controller.Value(s.cpe.Agent, "Device.DeviceInfo.FirmwareImage.2.Status"); got != "Available" {
		s.Errorf("the image's Status is %s", got)
	}
	if n := len(s.cpe.Journal()) - s.before; n > 0 {
		s.Errorf("the CPE was asked %d things", n)
	}
}

func changes(kind string) func(cwmp.Message) bool {
	return func(m cwmp.Message) bool {
		c, ok := m.(*cwmp.ChangeDUState)
		return ok && len(c.Operations) == 1 && c.Operations[0].Kind == kind
	}
}

// events changes each parameter that is an event, and waits for it to be told.
func (p *play) events(out map[string]string) {
	all, err := mapping.Events()
	if err != nil {
		p.t.Fatal(err)
	}
	const woken = "Device.LocalAgent.WakeUp!"
	heard := p.controller.Subscribe(p.cpe.Agent, "Event", woken)
	p.cpe.Inform(cwmp.Event{Code: cwmp.EventWakeup})
	p.heard[p.controller.Next(heard).Path] = true
	for _, e := range all {
		switch {
		case !p.has[e.Event]:
			out[e.Event] = ""
		case e.Source() == "":
			if out[e.Event] = byAgent; e.Class == mapping.ClassInform || e.Class == mapping.ClassRPC {
				out[e.Event] = p.wasTold(e.Event)
			}
		default:
			out[e.Event] = p.event(e)
		}
	}
}

// wasTold returns whether an event was told that no parameter stands for: of boots
// and of waking, of transfers, of software modules.
func (p *play) wasTold(event string) string {
	if !p.heard[event] {
		p.t.Errorf("%s was not told", event)
		return failed
	}
	return carriedOut
}

func (p *play) event(e *mapping.ServedEvent) (outcome string) {
	outcome = failed
	p.t.Run(e.Event, func(t *testing.T) {
		s := &step{play: p, T: t}
		path := s.instance(e.Event)
		heard := p.controller.Subscribe(p.cpe.Agent, "Event", path)
		source := strings.ReplaceAll(e.Source(), "{i}", "1")
		testenv.Until(t, "the CPE watches "+source, func() bool {
			return slices.ContainsFunc(p.cpe.Journal(), func(entry cpesim.Entry) bool {
				m, ok := entry.Request.(*cwmp.SetParameterAttributes)
				return ok && slices.ContainsFunc(m.Entries, func(a cwmp.SetParameterAttributesEntry) bool { return string(a.Name) == source })
			})
		})
		p.cpe.Set(source, "7")
		if n := p.controller.Next(heard); n.Path != path {
			t.Errorf("notified of %+v", n)
		}
		if !t.Failed() {
			outcome = carriedOut
		}
	})
	return outcome
}
