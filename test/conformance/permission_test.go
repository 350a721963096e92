package conformance

import (
	"maps"
	"slices"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// permissionCases are the tests of permissions (2.11 to 2.26). The controller has
// a role of its own, which it may change.
func permissionCases() []testCase {
	return []testCase{
		{number: "2.11", title: "Add where Obj allows it", play: func(t *trial) {
			t.permit(subscriptions, "Obj=rw--")
			t.Add(whole, create(subscriptions)).created(subscriptionKeys)
		}},
		{number: "2.12", title: "Add where Obj does not allow it", play: func(t *trial) {
			t.permit(subscriptions, "Obj=r---")
			t.Add(whole, create(subscriptions)).refused(usp.ErrPermissionDenied).blames(subscriptions, usp.ErrPermissionDenied)
			t.unchanged(subscriptions, nil)
		}},
		{number: "2.13", title: "Delete where InstantiatedObj allows it", play: func(t *trial) {
			row := t.row(subscriptions)
			t.permit(subscriptions, "InstantiatedObj=rw--")
			t.Delete(whole, row).deleted([]string{row})
		}},
		{number: "2.14", title: "Delete where InstantiatedObj does not allow it", play: func(t *trial) {
			row := t.row(subscriptions)
			t.permit(subscriptions, "InstantiatedObj=r---")
			t.Delete(whole, row).refused(usp.ErrPermissionDenied).blames(row, usp.ErrPermissionDenied)
			t.unchanged(subscriptions, []string{row})
		}},
		{number: "2.15", title: "Set where Param allows it", play: func(t *trial) {
			row := t.row(subscriptions)
			t.permit(row, "Param=rw--")
			a := t.Set(whole, change(row, "*Enable=true"))
			a.updated(a.updates(1)[0], []string{row}, "Enable")
		}},
		{number: "2.16", title: "Set where Param does not allow it", play: func(t *trial) {
			row := t.row(subscriptions)
			t.permit(row, "Param=r---")
			t.Set(whole, change(row, "*Enable=true")).refused(usp.ErrPermissionDenied).blames(row+"Enable", usp.ErrPermissionDenied)
			t.holds(row, "Enable=false")
		}},
		{number: "2.17", title: "Operate where CommandEvent allows it", play: func(t *trial) {
			t.permit(reboot, "CommandEvent=r-x-")
			if r := t.Operate(reboot, "").operated(reboot); r.GetReqOutputArgs() == nil {
				t.Errorf("the result is %v", r)
			}
			t.rebooted()
		}},
		{number: "2.18", title: "Operate where CommandEvent does not allow it", play: func(t *trial) {
			t.permit(reboot, "CommandEvent=r---")
			a := t.Operate(reboot, "")
			f := a.operated(reboot).GetCmdFailure()
			a.code(reboot, f.GetErrCode(), f.GetErrMsg(), usp.ErrPermissionDenied)
			if n := t.cpe.Called("Reboot"); n != 0 {
				t.Errorf("the CPE was told %d times to reboot", n)
			}
		}},
		{number: "2.19", title: "ValueChange where Param allows it", play: func(t *trial) {
			path := t.notifiable("Param=rw-n")
			t.changed(t.notice("permission"), path, "1234")
		}},
		{number: "2.20", title: "ValueChange where Param does not allow it", play: func(t *trial) {
			t.notifiable("Param=rw--")
			// A notification of the same change would have come before this one.
			t.notice("fence")
			if left := t.waiting("permission"); len(left) > 0 {
				t.Errorf("the subscription was notified: %v", left[0].msg)
			}
		}},
		{number: "2.21", title: "Of permissions for the same the one of highest order counts", play: overlapping},
		{number: "2.22", title: "Get leaves out parameters that may not be read", play: func(t *trial) {
			row := t.nestedRow()
			t.permit(row, "Param=rw--")
			t.permit(row+"ParameterName", "Param=----")
			a := t.Get(row)
			names := slices.Collect(maps.Keys(a.resolved(a.got(1)[0], row, row)[row]))
			if !same(names, []string{"Alias", "Enable"}) {
				t.Errorf("Get returned %v", names)
			}
		}},
		{number: "2.23", title: "Add by search path, as far as possible, where a required parameter may not be written everywhere", play: func(t *trial) {
			own, other := t.addPermitted()
			a := t.Add(partial, create(controllers+"*.BootParameter", "*Enable=false"))
			r := results(a, a.response().GetAddResp().GetCreatedObjResults(), len(t.rows(controllers)))
			made := slices.DeleteFunc(slices.Clone(r), func(r *created) bool { return r.GetOperStatus().GetOperSuccess() == nil })
			refused := slices.DeleteFunc(r, func(r *created) bool { return r.GetOperStatus().GetOperFailure() == nil })
			a.failure(results(a, refused, 1)[0], usp.ErrPermissionDenied)
			found := slices.ContainsFunc(made, func(r *created) bool { return inTable(a.success(r, bootParameterKeys), own+"BootParameter.") })
			if !found {
				t.Errorf("no row was created in %s: %v", own, made)
			}
			t.unchanged(other+"BootParameter.", nil)
		}},
		{number: "2.24", title: "Add by search path, all or nothing, where a required parameter may not be written everywhere", play: func(t *trial) {
			_, other := t.addPermitted()
			t.Add(whole, create(controllers+"*.BootParameter", "*Enable=false")).
				refused(usp.ErrPermissionDenied).blames(other+"BootParameter.Enable", usp.ErrPermissionDenied)
			t.unchanged(controllers+"*.BootParameter.", nil)
		}},
		{number: "2.25", title: "Add without a parameter that may not be written", play: func(t *trial) {
			t.permit(subscriptions+"*.Enable", "Param=r---")
			row := t.Add(whole, create(subscriptions, "ID=add1", "NotifType=ValueChange", "*ReferenceList="+softwareVersion)).created(subscriptionKeys)[0]
			if got := t.value(row + "Enable"); got != "false" {
				t.Errorf("Enable is %s", got)
			}
		}},
		{number: "2.26", title: "Add with a required parameter that may not be written", play: func(t *trial) {
			t.permit(subscriptions+"*.Enable", "Param=r---")
			a := t.Add(partial, create(subscriptions, "ID=add26", "NotifType=ValueChange", "*ReferenceList="+softwareVersion, "*Enable=true"))
			a.failure(results(a, a.response().GetAddResp().GetCreatedObjResults(), 1)[0], usp.ErrPermissionDenied)
			t.unchanged(subscriptions, nil)
		}},
	}
}

type created = usppb.AddResp_CreatedObjectResult

// permit gives the controller a role of its own, if it has none yet, and adds a
// permission to it that allows everything but what is said.
func (t *trial) permit(target string, but ...string) {
	t.Helper()
	if t.permissions == "" {
		t.permissions = t.role(t) + ".Permission."
	}
	settings := map[string]string{"Param": "rwxn", "Obj": "rwxn", "InstantiatedObj": "rwxn", "CommandEvent": "rwxn"}
	for _, s := range but {
		name, value, _ := setting(s)
		settings[name] = value
	}
	list := []string{"Enable=true", "Targets=" + target}
	for name, value := range settings {
		list = append(list, name+"="+value)
	}
	t.Add(whole, create(t.permissions, list...)).created([]string{"Alias", "Order"})
}

// notifiable changes a parameter that two subscriptions refer to, of which the
// first is to the parameter of a permission and the second to one without.
func (t *trial) notifiable(permission string) (path string) {
	t.Helper()
	own := t.own(primaryID)
	path = own + "PeriodicNotifInterval"
	t.permit(path, permission)
	t.subscribe("permission", "ValueChange", path)
	t.subscribe("fence", "ValueChange", own+"ProvisioningCode")
	a := t.Set(whole, change(own, "*PeriodicNotifInterval=1234", "*ProvisioningCode=1234"))
	a.updated(a.updates(1)[0], []string{own}, "PeriodicNotifInterval", "ProvisioningCode")
	return path
}

func overlapping(t *trial) {
	row := t.nestedRow()
	table := t.own(primaryID) + "BootParameter."
	seen := func(want bool) {
		t.Helper()
		a := t.Get(table)
		if got := len(a.values(a.got(1)[0], table)[row]) > 0; got != want {
			t.Errorf("the row's parameters are there: %v, want %v", got, want)
		}
	}
	t.permit(row, "Param=----", "Order=10")
	t.permit(row, "Param=rw--", "Order=11")
	seen(true)
	t.permit(row, "Param=----", "Order=12")
	seen(false)
}

// addPermitted lets Enable of boot parameters be written for one controller and
// not for another.
func (t *trial) addPermitted() (own, other string) {
	t.Helper()
	own, other = t.own(primaryID), t.own(secondaryID)
	t.permit(own+"BootParameter.", "Param=rw--")
	t.permit(other+"BootParameter.", "Param=r---")
	return own, other
}
