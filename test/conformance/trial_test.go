package conformance

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// The values of allow_partial, of first_level_only and of send_resp.
const (
	whole, partial     = false, true
	allLevels, oneOnly = false, true
	silently, answered = false, true
)

// Paths that many cases use.
const (
	localAgent      = "Device.LocalAgent."
	subscriptions   = "Device.LocalAgent.Subscription."
	controllers     = "Device.LocalAgent.Controller."
	requests        = "Device.LocalAgent.Request."
	roles           = "Device.LocalAgent.ControllerTrust.Role."
	softwareVersion = "Device.LocalAgent.SoftwareVersion"
	endpointID      = "Device.LocalAgent.EndpointID"
	invalidObject   = "Device.LocalAgent.InvalidObject."
)

// trial is one run of a case, on an agent of its own. What fails in it is told of
// the case; a step without which the rest makes no sense ends it.
type trial struct {
	*testing.T
	*line // of the primary controller
	field *field
	cpe   *testenv.CPE

	profile     *cpesim.Profile // of the CPE; spoil changes it
	permissions string          // table of the controller's own role, once it has one
	sessions    uint64          // begun
}

// field is one combination: a bridge, a kind of CPE, and controllers over one
// transport.
type field struct {
	env                *testenv.Env
	gateway            gateway
	over               mtp.Protocol
	broker             string            // host and port, of MQTT and STOMP
	realm              string            // tells fields on one broker apart
	session            map[string]string // of the primary controller's configuration
	inbox              string            // where controllers send, if that is not where agents say
	certificate        certificate       // of collectors that the bridge trusts
	udp                udpAddresses      // of CoAP
	primary, secondary *controller
}

// The controllers that every agent of a field knows, by their rows.
const (
	primaryID   = usp.EndpointID("proto::conformance-1")
	secondaryID = usp.EndpointID("proto::conformance-2")
)

// start boots a CPE for a case and waits until it is an agent.
func (f *field) start(t *testing.T) *trial {
	t.Helper()
	profile := &cpesim.Profile{}
	cpe := f.env.For(t).CPEWith(cpesim.Config{Model: f.gateway.model, Profile: profile})
	tr := &trial{T: t, line: f.primary.to(cpe.Agent), field: f, cpe: cpe, profile: profile}
	if f.over != mtp.WebSocket && f.session == nil { // where its OnBoardRequest comes without more ado
		testenv.Until(t, "the agent's OnBoardRequest", func() bool { return len(tr.waiting("")) > 0 })
	}
	return tr
}

// as is the trial as another controller plays it.
func (t *trial) as(c *controller) *trial {
	return &trial{T: t.T, line: c.to(t.agent), field: t.field, cpe: t.cpe, profile: t.profile}
}

// seconds returns how long something takes: as the plan has it, or shorter.
func (t *trial) seconds(plan, ours int) int {
	if *planTimes {
		return plan
	}
	return ours
}

// own returns the row of a controller in the agent's Controller table.
func (t *trial) own(id usp.EndpointID) string {
	t.Helper()
	path := controllers + `[EndpointID=="` + string(id) + `"].EndpointID`
	a := t.Get(path)
	all := a.values(a.got(1)[0], path)
	for row := range all {
		if len(all) == 1 {
			return row
		}
	}
	t.Fatalf("the Controller table has %d rows of %s", len(all), id)
	return ""
}

// answer is what came back for a request.
type answer struct {
	t       *trial
	request usppb.Header_MsgType
	msg     *usppb.Msg
}

// ask sends a request and waits for its answer.
func (t *trial) ask(typ usppb.Header_MsgType, req *usppb.Request) *answer {
	t.Helper()
	id := t.tell(typ, req)
	got, ok := t.next(testenv.Patience, func(r received) bool { return r.msg.GetHeader().GetMsgId() == id })
	if !ok {
		t.Fatalf("%s was not answered within %v", typ, testenv.Patience)
	}
	return &answer{t, typ, got.msg}
}

// tell sends a request and returns its msg_id.
func (t *trial) tell(typ usppb.Header_MsgType, req *usppb.Request) string {
	t.Helper()
	id := t.newID()
	t.post(&usppb.Msg{
		Header: &usppb.Header{MsgId: id, MsgType: typ},
		Body:   &usppb.Body{MsgBody: &usppb.Body_Request{Request: req}},
	})
	return id
}

func (t *trial) post(msg *usppb.Msg) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	if err := t.send(ctx, msg); err != nil {
		t.Fatal(err)
	}
}

// postRecord sends the bytes of a record, or what should be taken for one.
func (t *trial) postRecord(b []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	if err := t.controller.link.Send(ctx, t.agent, b); err != nil {
		t.Fatal(err)
	}
}

// setting reads "Name=value"; "*Name=value" is a required one.
func setting(text string) (name, value string, required bool) {
	text, required = strings.CutPrefix(text, "*")
	name, value, _ = strings.Cut(text, "=")
	return name, value, required
}

// create is one object of an Add, with settings as setting reads them.
func create(table string, settings ...string) *usppb.Add_CreateObject {
	o := &usppb.Add_CreateObject{ObjPath: table}
	for _, s := range settings {
		name, value, required := setting(s)
		o.ParamSettings = append(o.ParamSettings, &usppb.Add_CreateParamSetting{Param: name, Value: value, Required: required})
	}
	return o
}

// change is one object of a Set, with settings as setting reads them.
func change(object string, settings ...string) *usppb.Set_UpdateObject {
	o := &usppb.Set_UpdateObject{ObjPath: object}
	for _, s := range settings {
		name, value, required := setting(s)
		o.ParamSettings = append(o.ParamSettings, &usppb.Set_UpdateParamSetting{Param: name, Value: value, Required: required})
	}
	return o
}

func (t *trial) Add(allowPartial bool, objects ...*usppb.Add_CreateObject) *answer {
	t.Helper()
	return t.ask(usppb.Header_ADD, &usppb.Request{ReqType: &usppb.Request_Add{Add: &usppb.Add{AllowPartial: allowPartial, CreateObjs: objects}}})
}

func (t *trial) Set(allowPartial bool, objects ...*usppb.Set_UpdateObject) *answer {
	t.Helper()
	return t.ask(usppb.Header_SET, &usppb.Request{ReqType: &usppb.Request_Set{Set: &usppb.Set{AllowPartial: allowPartial, UpdateObjs: objects}}})
}

func (t *trial) Delete(allowPartial bool, paths ...string) *answer {
	t.Helper()
	return t.ask(usppb.Header_DELETE, &usppb.Request{ReqType: &usppb.Request_Delete{Delete: &usppb.Delete{AllowPartial: allowPartial, ObjPaths: paths}}})
}

func (t *trial) Get(paths ...string) *answer {
	t.Helper()
	return t.GetDepth(0, paths...)
}

func (t *trial) GetDepth(depth uint32, paths ...string) *answer {
	t.Helper()
	return t.ask(usppb.Header_GET, &usppb.Request{ReqType: &usppb.Request_Get{Get: &usppb.Get{ParamPaths: paths, MaxDepth: depth}}})
}

func (t *trial) Instances(firstLevelOnly bool, paths ...string) *answer {
	t.Helper()
	return t.ask(usppb.Header_GET_INSTANCES, &usppb.Request{ReqType: &usppb.Request_GetInstances{
		GetInstances: &usppb.GetInstances{ObjPaths: paths, FirstLevelOnly: firstLevelOnly}}})
}

func (t *trial) Supported(m *usppb.GetSupportedDM) *answer {
	t.Helper()
	return t.ask(usppb.Header_GET_SUPPORTED_DM, &usppb.Request{ReqType: &usppb.Request_GetSupportedDm{GetSupportedDm: m}})
}

// operation is an Operate; arguments are "Name=value".
func operation(command, key string, sendResp bool, args []string) *usppb.Request {
	m := &usppb.Operate{Command: command, CommandKey: key, SendResp: sendResp, InputArgs: map[string]string{}}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		m.InputArgs[name] = value
	}
	return &usppb.Request{ReqType: &usppb.Request_Operate{Operate: m}}
}

// Operate runs a command and waits for the answer.
func (t *trial) Operate(command, key string, args ...string) *answer {
	t.Helper()
	return t.ask(usppb.Header_OPERATE, operation(command, key, answered, args))
}

// OperateSilently runs a command without asking for an answer, and returns the
// msg_id.
func (t *trial) OperateSilently(command, key string, args ...string) string {
	t.Helper()
	return t.tell(usppb.Header_OPERATE, operation(command, key, silently, args))
}

// notice takes the next notification of a subscription.
func (t *trial) notice(subscription string) *usppb.Notify {
	t.Helper()
	return t.noticed(subscription).notify()
}

func (t *trial) noticed(subscription string) received {
	t.Helper()
	got, ok := t.next(testenv.Patience, func(r received) bool {
		return r.notify() != nil && r.notify().GetSubscriptionId() == subscription
	})
	if !ok {
		t.Fatalf("no notification of subscription %q within %v", subscription, testenv.Patience)
	}
	return got
}

// waiting returns the notifications of a subscription that have arrived and were
// not taken.
func (t *trial) waiting(subscription string) []received {
	return t.arrived(func(r received) bool { return r.notify() != nil && r.notify().GetSubscriptionId() == subscription })
}

// until waits until a condition holds.
func (t *trial) until(what string, condition func() bool) {
	t.Helper()
	testenv.Until(t.T, what, condition)
}

// between tells whether a time span is as long as the standard has it. A machine
// with other work is late, with the beginning of the span as with its end.
func (t *trial) between(what string, got time.Duration, least, most int) {
	t.Helper()
	const late = 10 * time.Second
	if got < time.Duration(least)*time.Second/2 || got > time.Duration(most)*time.Second+late {
		t.Errorf("%s came after %v, want %d to %d s", what, got, least, most)
	}
}

// same reports whether two lists have the same members.
func same(got, want []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}
