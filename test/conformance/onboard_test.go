package conformance

import (
	"fmt"
)

// onboardCases are the tests of OnBoardRequest (1.60, 1.101 to 1.103).
func onboardCases() []testCase {
	return []testCase{
		{number: "1.60", title: "SendOnBoardRequest() sends an OnBoardRequest", play: func(t *trial) { t.onboard("test60") }},
		{number: "1.101", title: "SendOnBoardRequest() makes onboarding incomplete", play: func(t *trial) {
			own := t.own(primaryID)
			t.put(own, "*OnBoardingComplete=true")
			t.onboard("test101")
			if got := t.value(own + "OnBoardingComplete"); got != "false" {
				t.Errorf("OnBoardingComplete is %s", got)
			}
			t.put(own, "*OnBoardingComplete=true")
		}},
		{number: "1.102", timed: true, title: "An OnBoardRequest is repeated after OnBoardingRestartTime until onboarding is complete", play: func(t *trial) {
			own, restart := t.own(primaryID), t.seconds(60, 2)
			t.put(own, fmt.Sprintf("*OnBoardingRestartTime=%d", restart))
			first := t.onboard("test102")
			second := t.longNotice("", restart)
			t.onboarding(second)
			t.between("the second OnBoardRequest", second.at.Sub(first.at), restart, restart)
			t.put(own, "*OnBoardingComplete=true")
			t.noMoreOnboarding(restart)
		}},
		{number: "1.103", timed: true, title: "An OnBoardRequest is not repeated without OnBoardingRestartTime", play: func(t *trial) {
			t.put(t.own(primaryID), "*OnBoardingRestartTime=0")
			t.onboard("test103")
			t.noMoreOnboarding(t.seconds(60, 2))
		}},
	}
}

// onboard runs SendOnBoardRequest() and expects the OnBoardRequest. One that the
// agent sent when it came to be is taken first.
func (t *trial) onboard(key string) received {
	t.Helper()
	for len(t.waiting("")) > 0 {
		t.noticed("")
	}
	t.OperateSilently(t.own(primaryID)+"SendOnBoardRequest()", key)
	got := t.noticed("")
	t.onboarding(got)
	return got
}

func (t *trial) onboarding(r received) {
	t.Helper()
	id, n := t.cpe.Identity(), r.notify().GetOnBoardReq()
	if n.GetOui() != id.OUI || n.GetProductClass() != id.ProductClass || n.GetSerialNumber() != id.SerialNumber ||
		n.GetAgentSupportedProtocolVersions() == "" || !r.notify().GetSendResp() {
		t.Errorf("the OnBoardRequest is %v with send_resp %v, want that of %+v", n, r.notify().GetSendResp(), id)
	}
}

// noMoreOnboarding expects no OnBoardRequest for a time and half of it: that the
// agent takes for a Periodic! of the secondary controller.
func (t *trial) noMoreOnboarding(seconds int) {
	t.Helper()
	second := t.as(t.field.secondary)
	second.put(t.own(secondaryID), fmt.Sprintf("*PeriodicNotifInterval=%d", seconds+seconds/2))
	second.subscribe("fence", "Event", "Device.LocalAgent.Periodic!")
	second.longNotice("fence", seconds+seconds/2)
	if left := t.waiting(""); len(left) > 0 {
		t.Errorf("another OnBoardRequest came: %v", left[0].msg)
	}
}
