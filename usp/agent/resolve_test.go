package agent

import (
	"testing"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// A path that ends in a dot is that of an object (TR-369 "Path Names"): written so, a
// parameter is not in the supported data model, for whichever message and however it
// is addressed (R-GET.0).
func TestParameterThatIsWrittenAsAnObject(t *testing.T) {
	b := newBench(t)
	code := func(body *usppb.Body) uint32 {
		resp := body.GetResponse()
		switch {
		case body.GetError() != nil:
			return body.GetError().GetErrCode()
		case resp.GetGetResp() != nil:
			return resp.GetGetResp().GetReqPathResults()[0].GetErrCode()
		case resp.GetGetInstancesResp() != nil:
			return resp.GetGetInstancesResp().GetReqPathResults()[0].GetErrCode()
		case resp.GetGetSupportedDmResp() != nil:
			return resp.GetGetSupportedDmResp().GetReqObjResults()[0].GetErrCode()
		}
		return 0
	}
	for _, param := range []string{
		"Device.DeviceInfo.UpTime.", "Device.LocalAgent.EndpointID.", "Device.WiFi.SSID.1.SSID.", "Device.WiFi.SSID.*.SSID.",
		`Device.WiFi.SSID.[SSID=="nowhere"].SSID.`,
	} {
		for name, req := range map[string]*usppb.Request{
			"Get": getReq(param), "GetInstances": instancesReq(false, param),
			"Set": setReq(false, update(param, kv{"SSID", "x", true})), "Add": addReq(false, create(param)), "Delete": deleteReq(false, param),
		} {
			if got := code(b.ask(primary, req)); got != 7026 {
				t.Errorf("%s of %s: %d, want 7026", name, param, got)
			}
		}
	}
	if got := code(b.ask(primary, supportedReq(false, true, true, true, true, "Device.WiFi.SSID.{i}.SSID."))); got != 7026 {
		t.Errorf("GetSupportedDM: %d, want 7026", got)
	}
	if got := code(b.ask(primary, operateReq("Device.Reboot().", "", true, nil))); got != 7008 {
		t.Errorf("Operate: %d, want 7008", got)
	}
}
