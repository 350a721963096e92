package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// The data that scenarios change on the CPE, as controllers see it.
const (
	ssids     = "Device.WiFi.SSID."
	mappings  = "Device.NAT.PortMapping."
	leases    = "Device.DHCPv4.Server.Pool.1.StaticAddress."
	hosts     = "Device.Hosts.Host."
	longName  = "an SSID of more than thirty-two characters"
	mappingOf = "*InternalClient=192.168.1.7" // every port mapping needs one
)

// onCPE are the tables where that data lies on a CPE, with the parameters looked
// at, by kind of CPE.
var onCPE = map[string]map[string][]string{
	"TR-098": {
		"InternetGatewayDevice.LANDevice.1.WLANConfiguration.":                                    {"SSID", "Channel", "Enable"},
		"InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.PortMapping.":  {"ExternalPort", "InternalClient", "PortMappingDescription", "PortMappingEnabled"},
		"InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.PortMapping.": {"ExternalPort", "InternalClient", "PortMappingDescription", "PortMappingEnabled"},
		"InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.DHCPStaticAddress.":            {"Chaddr", "Yiaddr", "Enable"},
		"InternetGatewayDevice.LANDevice.1.Hosts.Host.":                                           {"HostName"},
	},
	"TR-181": {
		"Device.WiFi.SSID.":                          {"SSID", "Enable"},
		"Device.WiFi.Radio.":                         {"Channel"},
		"Device.NAT.PortMapping.":                    {"ExternalPort", "InternalClient", "Description", "Enable"},
		"Device.DHCPv4.Server.Pool.1.StaticAddress.": {"Chaddr", "Yiaddr", "Enable"},
		"Device.Hosts.Host.":                         {"HostName"},
	},
}

// mostRows bounds the instance numbers that a snapshot looks for.
const mostRows = 100

// snapshot reads the data from the CPE itself.
func (t *trial) snapshot() map[string]string {
	values := map[string]string{}
	for table, names := range onCPE[t.field.gateway.name] {
		for n := 1; n <= mostRows; n++ {
			for _, name := range names {
				path := fmt.Sprintf("%s%d.%s", table, n, name)
				if v, ok := t.cpe.Get(path); ok {
					values[path] = v
				}
			}
		}
	}
	return values
}

// untouched expects that nothing was changed on the CPE.
func (t *trial) untouched(before map[string]string) {
	t.Helper()
	t.until("the CPE is as it was", func() bool { return maps.Equal(t.snapshot(), before) })
}

// holding returns how many of the CPE's parameters have a value.
func (t *trial) holding(value string) (n int) {
	for _, v := range t.snapshot() {
		if v == value {
			n++
		}
	}
	return n
}

// spoil gives the CPE a habit, from its next session on.
func (t *trial) spoil(habit func(p *cpesim.Profile)) {
	t.cpe.AwaitIdle()
	t.snapshot() // what the CPE has read of its profile, it has read before this
	habit(t.profile)
	t.snapshot()
}

// scenario is one of what the plan cannot ask: it looks at the CPE.
type scenario struct {
	title string
	play  func(t *trial)
}

// TestOnCPE: what a message means for the agent's own objects it means for data
// that lives on the CPE.
func TestOnCPE(t *testing.T) {
	for _, g := range gateways() {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			// A CPE that dies is waited for until the deadline.
			f := newField(t, &field{gateway: g, over: mtp.WebSocket}, map[string]any{"cwmp.deadline": "5s"})
			t.Run("scenarios", func(t *testing.T) {
				for _, s := range slices.Concat(setScenarios(), rowScenarios(), brokenScenarios()) {
					t.Run(s.title, func(t *testing.T) {
						t.Parallel()
						s.play(f.start(t))
					})
				}
			})
		})
	}
}

func setScenarios() []scenario {
	return []scenario{
		{"Set by wildcard reaches every row", func(t *trial) {
			rows := t.rows(ssids)
			a := t.Set(whole, change(ssids+"*.", "*SSID=everywhere"))
			a.updated(a.updates(1)[0], rows, "SSID")
			if got := t.holding("everywhere"); got != len(rows) {
				t.Errorf("%d of %d SSIDs were changed on the CPE", got, len(rows))
			}
		}},
		{"Set by search expression reaches the rows that match", func(t *trial) {
			one := t.row(mappings, "*ExternalPort=18080", mappingOf)
			t.row(mappings, "*ExternalPort=19090", mappingOf)
			a := t.Set(whole, change(mappings+"[ExternalPort==18080&&Protocol==\"TCP\"].", "*Description=by port"))
			a.updated(a.updates(1)[0], []string{one}, "Description")
			if got := t.holding("by port"); got != 1 {
				t.Errorf("%d rows were changed on the CPE", got)
			}
		}},
		{"Set, all or nothing: one bad value in two rows", func(t *trial) {
			rows, before := t.rows(ssids), t.snapshot()
			t.Set(whole, change(rows[0], "*SSID=fine"), change(rows[1], "*SSID="+longName)).
				refused(usp.ErrRequiredParameterFailed, usp.ErrInvalidValue).blames(rows[1]+"SSID", usp.ErrInvalidValue, usp.ErrInvalidType)
			t.untouched(before)
		}},
		{"Set, as far as possible: one bad value in two rows", func(t *trial) {
			rows := t.rows(ssids)
			a := t.Set(partial, change(rows[0], "*SSID=fine"), change(rows[1], "*SSID="+longName))
			r := a.updates(2)
			a.updated(r[0], []string{rows[0]}, "SSID")
			a.notUpdated(r[1], []string{rows[1]}, "SSID", usp.ErrInvalidValue, usp.ErrInvalidType)
			if t.holding("fine") != 1 || t.holding(longName) != 0 {
				t.Errorf("on the CPE is %v", t.snapshot())
			}
		}},
		{"Set, as far as possible: a search path is one whole", func(t *trial) {
			before := t.snapshot()
			a := t.Set(partial, change(ssids+"*.", "*SSID="+longName))
			if a.updates(1)[0].GetOperStatus().GetOperFailure() == nil {
				t.Errorf("the result is %v", a.msg)
			}
			t.untouched(before)
		}},
		{"Set of the CPE and the agent: the CPE refuses, the agent's object stays", func(t *trial) {
			own, before := t.own(primaryID), t.snapshot()
			t.Set(whole, change(own, "*ProvisioningCode=changed"), change(t.rows(ssids)[0], "*SSID="+longName)).refused(usp.ErrRequiredParameterFailed, usp.ErrInvalidValue)
			t.holds(own, "ProvisioningCode=")
			t.untouched(before)
		}},
		{"Set of the CPE and the agent: the agent refuses, the CPE is not asked", func(t *trial) {
			before, asked := t.snapshot(), t.cpe.Called("SetParameterValues")
			own := t.own(primaryID)
			t.Set(whole, change(t.rows(ssids)[0], "*SSID=changed"), change(own, "*PeriodicNotifInterval=never")).
				refused(usp.ErrRequiredParameterFailed).blames(own+"PeriodicNotifInterval", usp.ErrInvalidType)
			t.untouched(before)
			if n := t.cpe.Called("SetParameterValues"); n != asked {
				t.Errorf("the CPE was asked %d times", n-asked)
			}
		}},
		{"Set of a parameter that cannot be written", func(t *trial) {
			row, before := t.rows(hosts)[0], t.snapshot()
			t.Set(whole, change(row, "*HostName=changed")).refused(usp.ErrRequiredParameterFailed, usp.ErrReadOnly).blames(row+"HostName", usp.ErrReadOnly)
			t.untouched(before)
		}},
		{"Set, not required: the bad value is named, the good one is set", func(t *trial) {
			row := t.row(mappings, "*ExternalPort=18080", mappingOf)
			a := t.Set(whole, change(row, "Description=kept", "ExternalPort=a port"))
			ok := results(a, a.updates(1)[0].GetOperStatus().GetOperSuccess().GetUpdatedInstResults(), 1)[0]
			if e := ok.GetParamErrs(); len(e) != 1 || e[0].GetParam() != "ExternalPort" || ok.GetUpdatedParams()["Description"] != "kept" {
				t.Errorf("updated %v, param_errs %v", ok.GetUpdatedParams(), e)
			}
			if t.holding("kept") != 1 {
				t.Errorf("on the CPE is %v", t.snapshot())
			}
		}},
		{"Get by search expression and by depth", func(t *trial) {
			row := t.row(mappings, "*ExternalPort=18080", mappingOf)
			t.row(mappings, "*ExternalPort=19090", mappingOf)
			a := t.Get(mappings+"[ExternalPort>=18080&&ExternalPort<19000].", mappings)
			r := a.got(2)
			a.resolved(r[0], mappings+"[ExternalPort>=18080&&ExternalPort<19000].", row)
			a.resolved(r[1], mappings, t.rows(mappings)...)
			a = t.GetDepth(1, "Device.NAT.")
			a.resolved(a.got(1)[0], "Device.NAT.", "Device.NAT.")
		}},
		{"Get that follows a reference", func(t *trial) {
			a := t.Get("Device.WiFi.SSID.1.LowerLayers+.Channel")
			all := a.values(a.got(1)[0], "Device.WiFi.SSID.1.LowerLayers+.Channel")
			if len(all) != 1 || all["Device.WiFi.Radio.1."]["Channel"] == "" {
				t.Errorf("Get returned %v", all)
			}
		}},
	}
}

func rowScenarios() []scenario {
	return []scenario{
		{"Add and Delete of a row", func(t *trial) {
			before := t.snapshot()
			row := t.row(leases, "*Chaddr=02:00:00:00:00:01", "*Yiaddr=192.168.1.50", "*Enable=true")
			if t.holding("192.168.1.50") != 1 {
				t.Errorf("on the CPE is %v", t.snapshot())
			}
			t.holds(row, "Chaddr=02:00:00:00:00:01", "Yiaddr=192.168.1.50", "Enable=true")
			t.Delete(whole, row).deleted([]string{row})
			t.untouched(before)
		}},
		{"Add, all or nothing: of two rows one has a bad value", func(t *trial) {
			before, rows := t.snapshot(), t.rows(mappings)
			t.Add(whole,
				create(mappings, "*ExternalPort=18080", mappingOf),
				create(mappings, "*ExternalPort=19090", mappingOf, "*Description="+strings.Repeat("x", 257))).refused(usp.ErrRequiredParameterFailed, usp.ErrInvalidValue)
			t.untouched(before)
			t.unchanged(mappings, rows)
		}},
		{"Add, as far as possible: of two rows one has a bad value", func(t *trial) {
			rows := t.rows(mappings)
			a := t.Add(partial,
				create(mappings, "*ExternalPort=18080", mappingOf),
				create(mappings, "*ExternalPort=19090", mappingOf, "*Description="+strings.Repeat("x", 257)))
			r := results(a, a.response().GetAddResp().GetCreatedObjResults(), 2)
			row := r[0].GetOperStatus().GetOperSuccess().GetInstantiatedPath()
			a.failure(r[1], usp.ErrRequiredParameterFailed, usp.ErrInvalidValue)
			t.unchanged(mappings, append(rows, row))
			if t.holding("18080") != 1 || t.holding("19090") != 0 {
				t.Errorf("on the CPE is %v", t.snapshot())
			}
		}},
		{"Add to the CPE and to the agent: the CPE refuses, the agent has no row", func(t *trial) {
			before := t.snapshot()
			t.Add(whole, create(subscriptions, "ID=none"), create(mappings, "*ExternalPort=18080", "*Description="+strings.Repeat("x", 257))).
				refused(usp.ErrRequiredParameterFailed, usp.ErrInvalidValue)
			t.unchanged(subscriptions, nil)
			t.untouched(before)
		}},
		{"Add where rows cannot be created", func(t *trial) {
			before := t.snapshot()
			t.Add(whole, create(hosts)).refused(usp.ErrNotCreatable).blames(hosts, usp.ErrNotCreatable)
			t.untouched(before)
		}},
		{"Delete by wildcard", func(t *trial) {
			t.row(mappings, "*ExternalPort=18080", mappingOf)
			rows := t.rows(mappings)
			t.Delete(whole, mappings+"*.").deleted(rows)
			t.unchanged(mappings, nil)
			if t.holding("18080") != 0 {
				t.Errorf("on the CPE is %v", t.snapshot())
			}
		}},
	}
}

// brokenScenarios let the CPE fail in the middle of a change.
func brokenScenarios() []scenario {
	addRefused := func(t *trial, want ...usp.ErrorCode) {
		before, rows := t.snapshot(), t.rows(mappings)
		t.Add(whole, create(mappings, "*ExternalPort=18080", mappingOf)).refused(want...)
		t.spoil(func(p *cpesim.Profile) { *p = cpesim.Profile{} })
		t.cpe.Inform(cwmp.Event{Code: cwmp.EventPeriodic})
		t.untouched(before)
		t.until("controllers see no row", func() bool { return same(t.rows(mappings), rows) })
	}
	refuse := func(rpc string, code cwmp.FaultCode) func(*cpesim.Profile) {
		return func(p *cpesim.Profile) { p.RefuseWith = map[string]cwmp.FaultCode{rpc: code} }
	}
	die := func(rpc string) func(*cpesim.Profile) { return func(p *cpesim.Profile) { p.DieAt = rpc } }
	return []scenario{
		{"Add where the CPE refuses AddObject", func(t *trial) {
			t.spoil(refuse("AddObject", cwmp.FaultResourcesExceeded))
			addRefused(t, usp.ErrResourcesExceeded)
		}},
		{"Add where the CPE refuses the values behind AddObject", func(t *trial) {
			t.spoil(refuse("SetParameterValues", cwmp.FaultInternalError))
			addRefused(t, usp.ErrInternal, usp.ErrRequiredParameterFailed)
		}},
		{"Add where the CPE dies at AddObject", func(t *trial) {
			t.spoil(die("AddObject"))
			addRefused(t, usp.ErrInternal)
		}},
		{"Add where the CPE dies between AddObject and the values", func(t *trial) {
			t.spoil(die("SetParameterValues"))
			addRefused(t, usp.ErrInternal)
		}},
		{"Add where the CPE refuses to delete what it has half made", func(t *trial) {
			t.spoil(func(p *cpesim.Profile) {
				p.RefuseWith = map[string]cwmp.FaultCode{"SetParameterValues": cwmp.FaultInternalError, "DeleteObject": cwmp.FaultInternalError}
			})
			t.Add(whole, create(mappings, "*ExternalPort=18080", mappingOf)).refused(usp.ErrInternal, usp.ErrRequiredParameterFailed)
			t.spoil(func(p *cpesim.Profile) { *p = cpesim.Profile{} })
			t.cpe.Inform(cwmp.Event{Code: cwmp.EventPeriodic})
			t.until("controllers see as many rows as there are on the CPE", func() bool {
				n := 0
				for path := range t.snapshot() {
					if strings.HasSuffix(path, ".ExternalPort") {
						n++
					}
				}
				return len(t.rows(mappings)) == n
			})
		}},
		{"Set where the CPE dies", func(t *trial) {
			row, before := t.rows(ssids)[0], t.snapshot()
			t.spoil(die("SetParameterValues"))
			t.Set(whole, change(row, "*SSID=changed")).refused(usp.ErrInternal)
			t.untouched(before)
		}},
		{"Delete where the CPE refuses", func(t *trial) {
			row := t.row(mappings, "*ExternalPort=18080", mappingOf)
			before := t.snapshot()
			t.spoil(refuse("DeleteObject", cwmp.FaultRequestDenied))
			t.Delete(whole, row).refused(usp.ErrRequestDenied, usp.ErrDeleteFailure)
			t.untouched(before)
			a := t.Delete(partial, row)
			r := a.deletions(1)[0]
			if e := r.GetOperStatus().GetOperSuccess().GetUnaffectedPathErrs(); len(e) != 1 || e[0].GetUnaffectedPath() != row {
				t.Errorf("the result is %v, want %s as unaffected", r, row)
			}
			t.untouched(before)
		}},
	}
}
