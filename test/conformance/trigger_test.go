package conformance

// triggerCases are the tests of subscriptions that change the configuration (1.93,
// 1.94).
func triggerCases() []testCase {
	return []testCase{
		{number: "1.93", title: "TriggerAction Config changes the configuration", play: func(t *trial) {
			triggered(t, "93", "Config")
			if left := t.waiting("notify93"); len(left) > 0 {
				t.Errorf("the subscription was notified: %v", left[0].msg)
			}
		}},
		{number: "1.94", title: "TriggerAction NotifyAndConfig notifies and changes the configuration", play: func(t *trial) {
			own := triggered(t, "94", "NotifyAndConfig")
			t.changed(t.notice("notify94"), own+"ProvisioningCode", "TestValue94")
		}},
	}
}

// triggered lets a change pull a trigger that disables its own subscription.
func triggered(t *trial, number, action string) (own string) {
	own = t.own(primaryID)
	row := t.Add(whole, create(subscriptions, "Enable=true", "TriggerAction="+action, "ID=notify"+number, "NotifType=ValueChange",
		"*ReferenceList="+own+"ProvisioningCode", "NotifRetry=true")).created(subscriptionKeys)[0]
	t.put(row, "*TriggerConfigSettings="+row+"Enable=false")
	t.put(own, "*ProvisioningCode=TestValue"+number)
	t.holds(row, "Enable=false")
	return own
}
