package conformance

import (
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// notifyCases are the tests of subscriptions and notifications (1.52 to 1.59,
// 1.84).
func notifyCases() []testCase {
	return []testCase{
		{number: "1.52", title: "A subscription to a parameter's value is told of a change", play: func(t *trial) {
			own := t.own(primaryID)
			t.subscribe("notify52", "ValueChange", own+"ProvisioningCode", "NotifRetry=true")
			t.put(own, "*ProvisioningCode=TestValue52")
			t.changed(t.notice("notify52"), own+"ProvisioningCode", "TestValue52")
		}},
		{number: "1.53", title: "A deleted subscription is told nothing more", play: notifyDeleted},
		{number: "1.54", timed: true, title: "A notification without response is sent again", play: notifyRetry},
		{number: "1.55", timed: true, title: "A subscription ends with its TimeToLive", play: notifyTimeToLive},
		{number: "1.56", timed: true, title: "A notification is not sent again after its expiration", play: notifyExpiration},
		{number: "1.57", title: "A subscription to a table is told of a new row", play: func(t *trial) {
			own := t.own(primaryID)
			t.subscribe("notify57", "ObjectCreation", subscriptions, "NotifRetry=true")
			row := t.subscribe("notify57-2", "ValueChange", own+"ProvisioningCode", "NotifRetry=true")
			n := t.notice("notify57").GetObjCreation()
			if keys := n.GetUniqueKeys(); n.GetObjPath() != row || keys["ID"] != "notify57-2" || keys["Recipient"]+"." != own || keys["Alias"] == "" {
				t.Errorf("notified of %v, want the creation of %s for %s", n, row, own)
			}
		}},
		{number: "1.58", title: "A subscription to a table is told of a deleted row", play: func(t *trial) {
			row := t.row(subscriptions)
			t.subscribe("notify58", "ObjectDeletion", subscriptions, "NotifRetry=true")
			t.Delete(whole, row).deleted([]string{row})
			if n := t.notice("notify58").GetObjDeletion(); n.GetObjPath() != row {
				t.Errorf("notified of %v, want the deletion of %s", n, row)
			}
		}},
		{number: "1.59", timed: true, title: "Periodic! comes at its interval", play: notifyPeriodic},
		{number: "1.84", title: "A subscription by wildcard is told of a change in one of the rows", play: func(t *trial) {
			table := t.own(primaryID) + "BootParameter."
			t.row(table, "Enable=true", "ParameterName="+softwareVersion)
			row := t.row(table, "Enable=true", "ParameterName="+endpointID)
			t.subscribe("notify84", "ValueChange", table+"*.Enable")
			t.put(row, "*Enable=false")
			t.changed(t.notice("notify84"), row+"Enable", "false")
		}},
	}
}

// changed expects a notification to be of a parameter's new value.
func (t *trial) changed(n *usppb.Notify, path, value string) {
	t.Helper()
	if v := n.GetValueChange(); v.GetParamPath() != path || v.GetParamValue() != value {
		t.Errorf("notified of %v, want %s %q", n, path, value)
	}
}

func notifyDeleted(t *trial) {
	own := t.own(primaryID)
	row := t.subscribe("notify53", "ValueChange", own+"ProvisioningCode", "NotifRetry=true")
	t.put(own, "*ProvisioningCode=TestValue53")
	t.changed(t.notice("notify53"), own+"ProvisioningCode", "TestValue53")
	t.Delete(whole, row).deleted([]string{row})
	// What happens for notify53 happens before it does for a later subscription.
	t.subscribe("fence", "ValueChange", own+"ProvisioningCode")
	t.put(own, "*ProvisioningCode=notify53-2")
	t.notice("fence")
	if left := t.waiting("notify53"); len(left) > 0 {
		t.Errorf("the deleted subscription was notified: %v", left[0].msg)
	}
}

// retryEvery sets the wait of the first retry, and by how much each is longer
// than the one before.
func (t *trial) retryEvery(own string, seconds, thousandths int) {
	t.Helper()
	t.put(own, fmt.Sprintf("*USPNotifRetryMinimumWaitInterval=%d", seconds), fmt.Sprintf("*USPNotifRetryIntervalMultiplier=%d", thousandths))
}

func notifyRetry(t *trial) {
	own := t.own(primaryID)
	wait := t.seconds(5, 2)
	t.retryEvery(own, wait, 2000)
	t.subscribe("notify54", "ValueChange", own+"ProvisioningCode", "NotifRetry=true")
	t.mute(true)
	t.put(own, "*ProvisioningCode=TestValue54")
	first, second, third := t.noticed("notify54"), t.longNotice("notify54", 2*wait), t.longNotice("notify54", 4*wait)
	t.between("the first retry", second.at.Sub(first.at), wait, 2*wait)
	t.between("the second retry", third.at.Sub(second.at), 2*wait, 4*wait)
	for _, r := range []received{second, third} {
		if r.msg.GetHeader().GetMsgId() != first.msg.GetHeader().GetMsgId() || !r.notify().GetSendResp() {
			t.Errorf("the retry is another message: %v after %v", r.msg, first.msg)
		}
	}
	t.mute(false)
	t.acknowledge(third)
}

func notifyTimeToLive(t *trial) {
	own := t.own(primaryID)
	ttl := t.seconds(20, 2)
	gone := t.subscribe("gone", "ObjectDeletion", subscriptions)
	row := t.subscribe("notify55", "ValueChange", own+"ProvisioningCode", "NotifRetry=true", fmt.Sprintf("TimeToLive=%d", ttl))
	t.put(own, "*ProvisioningCode=TestValue55")
	t.changed(t.notice("notify55"), own+"ProvisioningCode", "TestValue55")
	if n := t.longNotice("gone", ttl).notify().GetObjDeletion(); n.GetObjPath() != row {
		t.Errorf("notified of %v, want the deletion of %s", n, row)
	}
	t.unchanged(subscriptions, []string{gone})
	t.subscribe("fence", "ValueChange", own+"ProvisioningCode")
	t.put(own, "*ProvisioningCode=TestValue55-2")
	t.notice("fence")
	if left := t.waiting("notify55"); len(left) > 0 {
		t.Errorf("the ended subscription was notified: %v", left[0].msg)
	}
}

// notifyExpiration has a second subscription to the same change, which does not
// expire: while that is told for the sixth time, after five waits, the other is
// told again no more often than there are waits in its time.
func notifyExpiration(t *trial) {
	own := t.own(primaryID)
	wait, expiration := t.seconds(5, 1), t.seconds(20, 3)
	t.retryEvery(own, wait, 1000)
	t.subscribe("notify56", "ValueChange", own+"ProvisioningCode", "NotifRetry=true", fmt.Sprintf("NotifExpiration=%d", expiration))
	t.subscribe("fence", "ValueChange", own+"ProvisioningCode", "NotifRetry=true")
	t.mute(true)
	t.put(own, "*ProvisioningCode=TestValue56")
	t.noticed("notify56")
	for range 6 {
		t.longNotice("fence", wait)
	}
	if again, most := len(t.waiting("notify56")), expiration/wait-1; again == 0 || again > most {
		t.Errorf("the notification was sent again %d times, want 1 to %d", again, most)
	}
	t.mute(false)
}

func notifyPeriodic(t *trial) {
	interval := t.seconds(60, 2)
	a := t.Set(whole, change(t.own(primaryID), fmt.Sprintf("PeriodicNotifInterval=%d", interval), "PeriodicNotifTime=2019-01-01T00:00:00Z"))
	a.updated(a.updates(1)[0], []string{t.own(primaryID)}, "PeriodicNotifInterval", "PeriodicNotifTime")
	t.Add(whole, create(subscriptions, "Enable=true", "ID=sub-103", "NotifType=Event", "ReferenceList=Device.LocalAgent.Periodic!")).created(subscriptionKeys)
	first, second := t.longNotice("sub-103", interval), t.longNotice("sub-103", interval)
	for _, r := range []received{first, second} {
		if e := r.notify().GetEvent(); e.GetObjPath() != localAgent || e.GetEventName() != "Periodic!" {
			t.Errorf("notified of %v, want Periodic!", e)
		}
	}
	t.between("the second Periodic!", second.at.Sub(first.at), interval, interval)
}

// longNotice is noticed for what may take some seconds by itself.
func (t *trial) longNotice(subscription string, seconds int) received {
	t.Helper()
	got, ok := t.next(time.Duration(seconds)*time.Second+testenv.Patience, func(r received) bool {
		return r.notify() != nil && r.notify().GetSubscriptionId() == subscription
	})
	if !ok {
		t.Fatalf("no notification of %s within %d s and more", subscription, seconds)
	}
	return got
}
