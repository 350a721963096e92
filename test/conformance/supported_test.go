package conformance

import (
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// everything asks for all that GetSupportedDM can tell.
func everything(firstLevelOnly bool, paths ...string) *usppb.GetSupportedDM {
	return &usppb.GetSupportedDM{ObjPaths: paths, FirstLevelOnly: firstLevelOnly,
		ReturnCommands: true, ReturnEvents: true, ReturnParams: true, ReturnUniqueKeySets: true}
}

// supportedCases are the tests of the GetSupportedDM message (1.72 to 1.77, 1.97 to
// 1.99, 1.105 to 1.107).
func supportedCases() []testCase {
	return []testCase{
		{number: "1.72", title: "GetSupportedDM of an object, all levels, with everything", play: func(t *trial) {
			all := t.Supported(everything(allLevels, localAgent)).objects(1)
			t.describes(all, localAgent)
			for _, o := range []string{"Controller.{i}.", "Controller.{i}.BootParameter.{i}.", "Subscription.{i}.", "Request.{i}.", "MTP.{i}."} {
				if all[localAgent+o] == nil {
					t.Errorf("%s is not there", localAgent+o)
				}
			}
		}},
		{number: "1.73", title: "GetSupportedDM of an object, first level only, with everything", play: func(t *trial) {
			all := t.Supported(everything(oneOnly, localAgent)).objects(1)
			t.describes(map[string]*object{localAgent: all[localAgent]}, localAgent)
			t.firstLevel(all, localAgent)
			if len(all[localAgent].GetUniqueKeySets()) != 0 {
				t.Errorf("%s has unique keys", localAgent)
			}
		}},
		{number: "1.74", title: "GetSupportedDM of an object, first level only, without anything", play: func(t *trial) {
			all := t.Supported(&usppb.GetSupportedDM{ObjPaths: []string{localAgent}, FirstLevelOnly: true}).objects(1)
			t.firstLevel(all, localAgent)
			for path, o := range all {
				if n := contents(o); n != [4]int{} {
					t.Errorf("%s has %v", path, n)
				}
			}
		}},
		{number: "1.75", title: "GetSupportedDM of two tables, first level only, with everything", play: func(t *trial) {
			all := t.Supported(everything(oneOnly, controllers, "Device.LocalAgent.MTP.")).objects(2)
			for _, table := range []string{controllers + "{i}.", "Device.LocalAgent.MTP.{i}."} {
				t.describes(map[string]*object{table: all[table]}, table)
				if len(all[table].GetUniqueKeySets()) == 0 {
					t.Errorf("%s has no unique keys", table)
				}
			}
			t.firstLevel(all, controllers+"{i}.", "Device.LocalAgent.MTP.{i}.")
			if len(all[controllers+"{i}.BootParameter.{i}."].GetUniqueKeySets()) == 0 {
				t.Error("a table of the first level has no unique keys")
			}
		}},
		{number: "1.76", title: "GetSupportedDM of everything", play: func(t *trial) {
			all := t.Supported(everything(allLevels, "Device.")).objects(1)
			t.describes(all, "Device.")
			for _, o := range []string{"Device.", localAgent, "Device.DeviceInfo.", "Device.WiFi.SSID.{i}."} {
				if all[o] == nil {
					t.Errorf("%s is not there", o)
				}
			}
			var n [4]int
			for _, o := range all {
				for i, c := range contents(o) {
					n[i] += c
				}
			}
			if slices.Contains(n[:], 0) {
				t.Errorf("the data model has %d parameters, %d commands, %d events and %d sets of unique keys", n[0], n[1], n[2], n[3])
			}
		}},
		{number: "1.77", title: "GetSupportedDM of an object that is not supported", play: func(t *trial) {
			a := t.Supported(everything(allLevels, "Device.LocalAgent.UnsupportedObject."))
			r := results(a, a.response().GetGetSupportedDmResp().GetReqObjResults(), 1)[0]
			a.code(r.GetReqObjPath(), r.GetErrCode(), r.GetErrMsg(), usp.ErrInvalidPath)
		}},
		{number: "1.97", title: "GetSupportedDM of all commands", play: func(t *trial) {
			args := 0
			for path, o := range t.Supported(&usppb.GetSupportedDM{ObjPaths: []string{"Device."}, ReturnCommands: true}).objects(1) {
				t.only(path, o, 1)
				t.commands(path, o)
				for _, c := range o.GetSupportedCommands() {
					args += len(c.GetInputArgNames())
				}
			}
			if args == 0 {
				t.Error("no command has an input argument")
			}
		}},
		{number: "1.98", title: "GetSupportedDM of all events", play: func(t *trial) {
			args := 0
			for path, o := range t.Supported(&usppb.GetSupportedDM{ObjPaths: []string{"Device."}, ReturnEvents: true}).objects(1) {
				t.only(path, o, 2)
				t.events(path, o)
				for _, e := range o.GetSupportedEvents() {
					args += len(e.GetArgNames())
				}
			}
			if args == 0 {
				t.Error("no event has an argument")
			}
		}},
		{number: "1.99", title: "GetSupportedDM of unique keys", play: func(t *trial) {
			o := t.Supported(&usppb.GetSupportedDM{ObjPaths: []string{"Device.LocalAgent.Subscription"}, ReturnUniqueKeySets: true}).objects(1)[subscriptions+"{i}."]
			t.only(subscriptions, o, 3)
			var sets []string
			for _, s := range o.GetUniqueKeySets() {
				sets = append(sets, strings.Join(slices.Sorted(slices.Values(s.GetKeyNames())), ","))
			}
			if !same(sets, []string{"Alias", "ID,Recipient"}) {
				t.Errorf("the sets of unique keys are %v", sets)
			}
		}},
		{number: "1.105", title: "GetSupportedDM of a command", play: func(t *trial) { supportedOne(t, "Device.", "Reboot()", 1) }},
		{number: "1.106", title: "GetSupportedDM of an event", play: func(t *trial) { supportedOne(t, "Device.", "Boot!", 2) }},
		{number: "1.107", title: "GetSupportedDM of a parameter", play: func(t *trial) { supportedOne(t, localAgent, "EndpointID", 0) }},
	}
}

type object = usppb.GetSupportedDMResp_SupportedObjectResult

// objects returns what a response describes, by path, for n requested paths.
func (a *answer) objects(n int) map[string]*object {
	a.t.Helper()
	all := map[string]*object{}
	for _, r := range results(a, a.response().GetGetSupportedDmResp().GetReqObjResults(), n) {
		if r.GetErrCode() != 0 || r.GetDataModelInstUri() == "" {
			a.t.Errorf("%s: error %d %s, data model %q", r.GetReqObjPath(), r.GetErrCode(), r.GetErrMsg(), r.GetDataModelInstUri())
		}
		for _, o := range r.GetSupportedObjs() {
			if all[o.GetSupportedObjPath()] != nil {
				a.t.Errorf("%s is described twice", o.GetSupportedObjPath())
			}
			all[o.GetSupportedObjPath()] = o
		}
	}
	return all
}

// contents counts parameters, commands, events and sets of unique keys.
func contents(o *object) [4]int {
	return [4]int{len(o.GetSupportedParams()), len(o.GetSupportedCommands()), len(o.GetSupportedEvents()), len(o.GetUniqueKeySets())}
}

// only expects that an object has but one kind of contents.
func (t *trial) only(path string, o *object, kind int) {
	t.Helper()
	n := contents(o)
	n[kind] = 0
	if n != [4]int{} {
		t.Errorf("%s has other contents than asked for: %v", path, n)
	}
}

// describes expects that objects below root are described as the schema of the
// message has it.
func (t *trial) describes(all map[string]*object, root string) {
	t.Helper()
	if all[root] == nil {
		t.Fatalf("%s is not there", root)
	}
	for path, o := range all {
		multi := strings.HasSuffix(path, ".{i}.")
		if !strings.HasPrefix(path, root) || !strings.HasSuffix(path, ".") || o.GetIsMultiInstance() != multi {
			t.Errorf("%s, multi-instance %v, is described below %s", path, o.GetIsMultiInstance(), root)
		}
		if !multi && (len(o.GetUniqueKeySets()) > 0 || o.GetAccess() != usppb.GetSupportedDMResp_OBJ_READ_ONLY) {
			t.Errorf("%s is no table and has keys %v, access %v", path, o.GetUniqueKeySets(), o.GetAccess())
		}
		names := map[string]bool{}
		for _, p := range o.GetSupportedParams() {
			names[p.GetParamName()] = true
			if p.GetParamName() == "" || p.GetValueType() == usppb.GetSupportedDMResp_PARAM_UNKNOWN || p.GetValueChange() == usppb.GetSupportedDMResp_VALUE_CHANGE_UNKNOWN {
				t.Errorf("%s: parameter %v", path, p)
			}
		}
		for _, s := range o.GetUniqueKeySets() {
			for _, name := range s.GetKeyNames() {
				if !names[name] && !strings.Contains(name, ".") {
					t.Errorf("%s: %s is a unique key, but no parameter", path, name)
				}
			}
		}
		t.commands(path, o)
		t.events(path, o)
	}
}

func (t *trial) commands(path string, o *object) {
	t.Helper()
	for _, c := range o.GetSupportedCommands() {
		if !strings.HasSuffix(c.GetCommandName(), "()") || c.GetCommandType() == usppb.GetSupportedDMResp_CMD_UNKNOWN || absolute(c.GetInputArgNames(), c.GetOutputArgNames()) {
			t.Errorf("%s: command %v", path, c)
		}
	}
}

func (t *trial) events(path string, o *object) {
	t.Helper()
	for _, e := range o.GetSupportedEvents() {
		if !strings.HasSuffix(e.GetEventName(), "!") || absolute(e.GetArgNames()) {
			t.Errorf("%s: event %v", path, e)
		}
	}
}

// absolute reports whether one of the names is no relative path.
func absolute(lists ...[]string) bool {
	return slices.ContainsFunc(slices.Concat(lists...), func(name string) bool { return name == "" || strings.HasPrefix(name, "Device.") })
}

// firstLevel expects the described objects to be tops and their children, of which
// only the tops have parameters, commands and events.
func (t *trial) firstLevel(all map[string]*object, tops ...string) {
	t.Helper()
	for path, o := range all {
		if slices.Contains(tops, path) {
			continue
		}
		parent := strings.TrimSuffix(strings.TrimSuffix(path, "{i}."), ".")
		if parent = parent[:strings.LastIndexByte(parent, '.')+1]; !slices.Contains(tops, parent) {
			t.Errorf("%s is no child of %v", path, tops)
		}
		if n := contents(o); n[0]+n[1]+n[2] > 0 {
			t.Errorf("%s has contents: %v", path, n)
		}
	}
	if len(all) <= len(tops) {
		t.Errorf("there are no children of %v", tops)
	}
}

// supportedOne asks for one element and expects that alone.
func supportedOne(t *trial, parent, name string, kind int) {
	all := t.Supported(everything(allLevels, parent+name)).objects(1)
	o := all[parent]
	if len(all) != 1 || o == nil {
		t.Fatalf("described are %v, want %s alone", all, parent)
	}
	t.only(parent, o, kind)
	t.describes(all, parent)
	got := [4]string{}
	for _, p := range o.GetSupportedParams() {
		got[0] += p.GetParamName()
	}
	for _, c := range o.GetSupportedCommands() {
		got[1] += c.GetCommandName()
	}
	for _, e := range o.GetSupportedEvents() {
		got[2] += e.GetEventName()
	}
	if got[kind] != name {
		t.Errorf("described is %q, want %s", got[kind], name)
	}
}
