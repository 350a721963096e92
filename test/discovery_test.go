package test

import (
	"slices"
	"testing"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// TestFirstContact: a CPE that was never seen informs, and is an agent that
// answers for it.
func TestFirstContact(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()

		for path, want := range map[string]string{
			"Device.DeviceInfo.SerialNumber":    cpe.Identity().SerialNumber,
			"Device.DeviceInfo.ManufacturerOUI": cpe.Identity().OUI,
			"Device.DeviceInfo.SoftwareVersion": cpe.Value(g.software),
			"Device.WiFi.SSID.1.SSID":           cpe.Value(g.ssid),
			"Device.LocalAgent.EndpointID":      string(cpe.Agent),
		} {
			if got := controller.Value(cpe.Agent, path); got != want {
				t.Errorf("%s is %q, want %q", path, got, want)
			}
		}
		if all := controller.Get(cpe.Agent, "Device."); len(all) < 500 {
			t.Errorf("Get Device. returned %d parameters, want the whole device", len(all))
		}
		ssids := controller.Instances(cpe.Agent, "Device.WiFi.SSID.")
		if len(ssids) == 0 || ssids[0] != "Device.WiFi.SSID.1." {
			t.Errorf("GetInstances Device.WiFi.SSID. returned %v", ssids)
		}
		checkSupported(t, controller, cpe)
	})
}

// checkSupported asks for the supported data model of port mappings.
func checkSupported(t *testing.T, controller *testenv.Controller, cpe *testenv.CPE) {
	t.Helper()
	resp, err := controller.GetSupportedDM(t.Context(), cpe.Agent, &usppb.GetSupportedDM{
		ObjPaths: []string{"Device.NAT.PortMapping.{i}."}, ReturnParams: true, ReturnUniqueKeySets: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	objects := resp.GetReqObjResults()[0].GetSupportedObjs()
	if len(objects) != 1 || objects[0].GetSupportedObjPath() != "Device.NAT.PortMapping.{i}." {
		t.Fatalf("GetSupportedDM returned %v", resp)
	}
	o := objects[0]
	if !o.GetIsMultiInstance() || o.GetAccess() != usppb.GetSupportedDMResp_OBJ_ADD_DELETE {
		t.Errorf("port mappings: multi-instance %v, access %v", o.GetIsMultiInstance(), o.GetAccess())
	}
	port := slices.IndexFunc(o.GetSupportedParams(), func(p *usppb.GetSupportedDMResp_SupportedParamResult) bool {
		return p.GetParamName() == "ExternalPort"
	})
	if port < 0 || o.GetSupportedParams()[port].GetAccess() != usppb.GetSupportedDMResp_PARAM_READ_WRITE {
		t.Errorf("port mappings have the parameters %v, want ExternalPort, writable", o.GetSupportedParams())
	}
}
