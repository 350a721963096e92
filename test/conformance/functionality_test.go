package conformance

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// functionalityCases are the tests of section 9.
func functionalityCases() []testCase {
	return slices.Concat([]testCase{
		{number: "9.2", over: mtp.WebSocket, title: "A certificate can be added, and its controller connects with it", play: certificateAdded},
		{number: "9.9", title: "A controller is added and gets an OnBoardRequest", play: func(t *trial) {
			added := t.another("Alias=usp-111-Controller")
			added.value(endpointID)
			for len(added.waiting("")) > 0 {
				added.noticed("")
			}
			t.OperateSilently(t.own(added.controller.id)+"SendOnBoardRequest()", "")
			added.onboarding(added.noticed(""))
		}},
		{number: "9.10", title: "Boot! has the boot parameters (of SoftwareVersion)", play: func(t *trial) {
			const parameter = "Device.DeviceInfo.SoftwareVersion"
			t.Add(whole,
				// What is not persistent ends with the reboot that it waits for.
				create(subscriptions, "ID=boot", "NotifType=Event", "ReferenceList=Device.Boot!", "Enable=true", "Persistent=true"),
				create(t.own(primaryID)+"BootParameter.", "Enable=true", "ParameterName="+parameter),
			).created(subscriptionKeys, bootParameterKeys)
			t.OperateSilently(reboot, "")
			e := t.notice("boot").GetEvent()
			var values map[string]string
			if err := json.Unmarshal([]byte(e.GetParams()["ParameterMap"]), &values); err != nil || e.GetObjPath()+e.GetEventName() != "Device.Boot!" {
				t.Fatalf("notified of %v: %v", e, err)
			}
			if want := t.value(parameter); values[parameter] != want || want == "" {
				t.Errorf("ParameterMap is %v, want %s %q", values, parameter, want)
			}
		}},
		{number: "9.11", timed: true, title: "A timer completes when its time has come", play: func(t *trial) {
			delay := t.seconds(60, 2)
			t.subscribe("timer", "OperationComplete", timer)
			t.requested(t.Operate(timer, "", fmt.Sprintf("DelaySeconds=%d", delay)).operated(timer))
			t.completed(t.longNotice("timer", delay).notify(), timer, "")
		}},
	},
		without(notApplicable, "deprecated by the plan in favour of 9.11; the command is no longer in the data model", map[string]string{"9.1": "The timer of a controller"}),
		firmwareCases())
}

// another adds a controller to the agent's Controller table and is the trial as
// that one plays it.
func (t *trial) another(settings ...string) *trial {
	t.Helper()
	id := usp.EndpointID("proto::" + t.cpe.Identity().SerialNumber)
	row := t.row(controllers, append(settings, "EndpointID="+string(id), "Enable=true", "AssignedRole="+roles+"1")...)
	if t.field.over != mtp.WebSocket { // else the controller comes to us
		t.row(row+"MTP.", t.field.mtpSettings(id)...)
	}
	return t.as(newController(t, id, t.field.link(t.T, id)))
}

// mtpSettings are what a row of a controller's MTP table has to say for it to be
// reached.
func (f *field) mtpSettings(id usp.EndpointID) []string {
	if f.over == mtp.STOMP {
		return []string{"*Enable=true", "*Protocol=STOMP", "*STOMP.Destination=" + f.address("controller", string(id))}
	}
	return []string{"*Enable=true", "*Protocol=MQTT", "*MQTT.Topic=" + f.address("controller", string(id))}
}
