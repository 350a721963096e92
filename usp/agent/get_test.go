package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func TestGet(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct{ name, path, want string }{
		{"parameter", "Device.DeviceInfo.UpTime", "Device.DeviceInfo.UpTime=77"},
		{"1.36 own parameter", "Device.LocalAgent.EndpointID", "Device.LocalAgent.EndpointID=" + string(testAgent)},
		{"object", "Device.DeviceInfo.", "Device.DeviceInfo.FriendlyName=box\nDevice.DeviceInfo.Manufacturer=Acme\nDevice.DeviceInfo.UpTime=77"},
		{"object without dot", "Device.WiFi.Radio.1", "Device.WiFi.Radio.1.Channel=6\nDevice.WiFi.Radio.1.Name=radio0"},
		{"1.41 unsupported parameter", "Device.LocalAgent.InvalidParameter", "!7026"},
		{"unsupported object", "Device.Nope.", "!7026"},
		{"syntax", "Device..WiFi", "!7008"},
		{"syntax of expression", "Device.WiFi.SSID.[].", "!7008"},
		{"row that is not there", "Device.WiFi.SSID.9.Name", "!7026"},
		{"table without instance", "Device.WiFi.SSID.Name", "!7026"},
		{"command", "Device.Reboot()", "!7026"},
		{"1.44 wildcard", "Device.WiFi.SSID.*.Name", "Device.WiFi.SSID.1.Name=wlan0\nDevice.WiFi.SSID.2.Name=wlan1"},
		{"wildcard, unsupported behind it", "Device.WiFi.SSID.*.Nope", "!7026"},
		{"1.43 unique key", `Device.WiFi.SSID.[Name=="wlan1"].SSID`, "Device.WiFi.SSID.2.SSID=guest"},
		{"unique key that no row has", `Device.WiFi.SSID.[Name=="nope"].SSID`, "!7026"},
		{"1.82 search without match", `Device.WiFi.SSID.[SSID=="nope"].SSID`, ""},
		{"1.46 ==", `Device.WiFi.SSID.[Enable==true].Name`, "Device.WiFi.SSID.1.Name=wlan0"},
		{"== as number", `Device.WiFi.SSID.[Enable==1].Name`, "Device.WiFi.SSID.1.Name=wlan0"},
		{"boolean in quotes", `Device.WiFi.SSID.[Enable=="true"].Name`, "!7004"},
		{"1.47 !=", `Device.WiFi.SSID.[Enable!=true].Name`, "Device.WiFi.SSID.2.Name=wlan1"},
		{"1.48 >", `Device.WiFi.Radio.[Channel>6].Name`, "Device.WiFi.Radio.2.Name=radio1"},
		{"1.49 <", `Device.WiFi.Radio.[Channel<36].Name`, "Device.WiFi.Radio.1.Name=radio0"},
		{"1.50 >=", `Device.WiFi.Radio.[Channel>=6].Name`, "Device.WiFi.Radio.1.Name=radio0\nDevice.WiFi.Radio.2.Name=radio1"},
		{"1.51 <=", `Device.WiFi.Radio.[Channel<=6].Name`, "Device.WiFi.Radio.1.Name=radio0"},
		{"and", `Device.WiFi.SSID.[Enable==true&&SSID=="guest"].Name`, ""},
		{"in sub-object", `Device.WiFi.SSID.[Stats.BytesSent>100].Name`, "Device.WiFi.SSID.1.Name=wlan0"},
		{"list", `Device.WiFi.SSID.[LowerLayers~="Device.WiFi.Radio.1"].Name`, "Device.WiFi.SSID.1.Name=wlan0"},
		{"order of strings", `Device.WiFi.SSID.[SSID>"a"].Name`, "!7004"},
		{"expression on what is unsupported", `Device.WiFi.SSID.[Nope=="a"].Name`, "!7026"},
		{"reference", "Device.WiFi.SSID.1.LowerLayers+.Name", "Device.WiFi.Radio.1.Name=radio0"},
		{"reference with a final dot, by number", "Device.WiFi.SSID.1.LowerLayers#2+.Name", "Device.WiFi.Radio.2.Name=radio1"},
		{"all references", "Device.WiFi.SSID.1.LowerLayers#*+.Name", "Device.WiFi.Radio.1.Name=radio0\nDevice.WiFi.Radio.2.Name=radio1"},
		{"reference that is not there", "Device.WiFi.SSID.2.LowerLayers#2+.Name", "!7026"},
		{"reference in expression", `Device.WiFi.SSID.[LowerLayers+.Channel==36].Name`, "Device.WiFi.SSID.2.Name=wlan1"},
		{"secured", "Device.WiFi.Passphrase", "Device.WiFi.Passphrase="},
		{"1.87 empty table", "Device.LocalAgent.Subscription.", ""},
		{"1.86 search in empty table", "Device.LocalAgent.Subscription.[Enable==true].", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := b.ask(primary, getReq(tc.path)).GetResponse().GetGetResp().GetReqPathResults()
			if len(res) != 1 || res[0].GetRequestedPath() != tc.path {
				t.Fatalf("results %v", res)
			}
			if g := got(res[0]); g != tc.want {
				t.Fatalf("got\n%s\nwant\n%s", g, tc.want)
			}
		})
	}
}

// TP-469 1.89: max_depth.
func TestGetMaxDepth(t *testing.T) {
	b := newBench(t)
	resolved := func(depth uint32) []string {
		req := getReq("Device.WiFi.")
		req.GetGet().MaxDepth = depth
		var paths []string
		for _, r := range b.ask(primary, req).GetResponse().GetGetResp().GetReqPathResults()[0].GetResolvedPathResults() {
			paths = append(paths, r.GetResolvedPath())
		}
		slices.Sort(paths)
		return paths
	}
	one := []string{"Device.WiFi."}
	two := []string{"Device.WiFi.", "Device.WiFi.Radio.1.", "Device.WiFi.Radio.2.", "Device.WiFi.SSID.1.", "Device.WiFi.SSID.2."}
	three := append(slices.Clone(two), "Device.WiFi.SSID.1.Client.1.", "Device.WiFi.SSID.1.Stats.", "Device.WiFi.SSID.2.Stats.")
	slices.Sort(three)
	for depth, want := range [][]string{three, one, two, three, three} {
		if g := resolved(uint32(depth)); !slices.Equal(g, want) {
			t.Errorf("depth %d: %v, want %v", depth, g, want)
		}
	}
}

func TestGetTellsWhatCouldNotBeRead(t *testing.T) {
	b := newBench(t)
	b.model.refuse["Get UpTime"] = usp.Errorf(usp.ErrInternal, "", "the CPE does not answer")
	res := b.ask(primary, getReq("Device.DeviceInfo.", "Device.DeviceInfo.UpTime", "Device.DeviceInfo.Manufacturer")).GetResponse().GetGetResp().GetReqPathResults()
	if res[0].GetErrCode() != 7003 || len(res[0].GetResolvedPathResults()) != 1 {
		t.Errorf("object: %v", res[0])
	}
	if res[1].GetErrCode() != 7003 || !strings.Contains(res[1].GetErrMsg(), "does not answer") {
		t.Errorf("parameter: %v", res[1])
	}
	if got(res[2]) != "Device.DeviceInfo.Manufacturer=Acme" {
		t.Errorf("other parameter: %v", res[2])
	}
}

func TestGetBounds(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Limits.Paths, c.Limits.Matches = 2, 5 })
	if e := b.ask(primary, getReq("a.", "b.", "c.")).GetError(); e.GetErrCode() != 7005 {
		t.Errorf("too many paths: %v", e)
	}
	if res := b.ask(primary, getReq("Device.")).GetResponse().GetGetResp().GetReqPathResults()[0]; res.GetErrCode() != 7005 || len(res.GetResolvedPathResults()) != 0 {
		t.Errorf("too many matches: %v", res)
	}
}

func TestGetInstances(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		name  string
		first bool
		path  string
		want  string
	}{
		{"1.66 first level", true, "Device.WiFi.SSID.", "Device.WiFi.SSID.1. map[Alias:cpe-1 Name:wlan0]\nDevice.WiFi.SSID.2. map[Alias:cpe-2 Name:wlan1]"},
		{"1.67 all levels", false, "Device.WiFi.SSID.", "Device.WiFi.SSID.1. map[Alias:cpe-1 Name:wlan0]\nDevice.WiFi.SSID.1.Client.1. map[]\nDevice.WiFi.SSID.2. map[Alias:cpe-2 Name:wlan1]"},
		{"1.70 wildcard", true, "Device.WiFi.SSID.*.Client.", "Device.WiFi.SSID.1.Client.1. map[]"},
		{"1.71 search", true, "Device.WiFi.SSID.[Enable==true].Client.", "Device.WiFi.SSID.1.Client.1. map[]"},
		{"1.83 unmatched", true, `Device.WiFi.SSID.[Alias=="nope"].Client.`, ""},
		{"own table", true, "Device.LocalAgent.Controller.", "Device.LocalAgent.Controller.1. map[Alias:cpe-1 EndpointID:proto::controller-1]\nDevice.LocalAgent.Controller.2. map[Alias:cpe-2 EndpointID:proto::controller-2]"},
		{"not a table", true, "Device.WiFi.", "!7018"},
		{"tables below an object", false, "Device.WiFi.", "Device.WiFi.Radio.1. map[]\nDevice.WiFi.Radio.2. map[]\nDevice.WiFi.SSID.1. map[Alias:cpe-1 Name:wlan0]\nDevice.WiFi.SSID.1.Client.1. map[]\nDevice.WiFi.SSID.2. map[Alias:cpe-2 Name:wlan1]"},
		{"a row and the tables below it", false, "Device.WiFi.SSID.1.", "Device.WiFi.SSID.1. map[Alias:cpe-1 Name:wlan0]\nDevice.WiFi.SSID.1.Client.1. map[]"},
		{"a row alone", true, "Device.WiFi.SSID.1.", "Device.WiFi.SSID.1. map[Alias:cpe-1 Name:wlan0]"},
		{"rows that match a search", true, `Device.WiFi.SSID.[Alias!="cpe-1"].`, "Device.WiFi.SSID.2. map[Alias:cpe-2 Name:wlan1]"},
		{"rows that match a wildcard", true, "Device.WiFi.SSID.*.", "Device.WiFi.SSID.1. map[Alias:cpe-1 Name:wlan0]\nDevice.WiFi.SSID.2. map[Alias:cpe-2 Name:wlan1]"},
		{"parameter", true, "Device.WiFi.SSIDNumberOfEntries", "!7018"},
		{"unsupported", true, "Device.Nope.", "!7026"},
		{"row that is not there", true, "Device.WiFi.SSID.7.Client.", "!7016"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := b.ask(primary, instancesReq(tc.first, tc.path)).GetResponse().GetGetInstancesResp().GetReqPathResults()[0]
			var lines []string
			for _, c := range res.GetCurrInsts() {
				lines = append(lines, fmt.Sprint(c.GetInstantiatedObjPath(), " ", c.GetUniqueKeys()))
			}
			slices.Sort(lines)
			g := strings.Join(lines, "\n")
			if res.GetErrCode() != 0 {
				g = fmt.Sprintf("!%d", res.GetErrCode())
			}
			if g != tc.want {
				t.Fatalf("got\n%s\nwant\n%s", g, tc.want)
			}
		})
	}
}

func supportedPaths(res *usppb.GetSupportedDMResp_RequestedObjectResult) []string {
	var paths []string
	for _, o := range res.GetSupportedObjs() {
		paths = append(paths, fmt.Sprintf("%s p%d c%d e%d k%d", o.GetSupportedObjPath(), len(o.GetSupportedParams()), len(o.GetSupportedCommands()), len(o.GetSupportedEvents()), len(o.GetUniqueKeySets())))
	}
	return paths
}

func TestGetSupportedDM(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		name string
		req  *usppb.Request
		want []string
		code uint32
	}{
		{name: "all levels", req: supportedReq(false, true, true, true, true, "Device.WiFi."), want: []string{
			"Device.WiFi. p2 c0 e0 k0", "Device.WiFi.Radio.{i}. p2 c0 e0 k0", "Device.WiFi.SSID.{i}. p5 c0 e0 k2",
			"Device.WiFi.SSID.{i}.Client.{i}. p1 c0 e0 k0", "Device.WiFi.SSID.{i}.Stats. p1 c0 e0 k0",
		}},
		{name: "1.73 first level", req: supportedReq(true, true, true, true, true, "Device.WiFi."), want: []string{
			"Device.WiFi. p2 c0 e0 k0", "Device.WiFi.Radio.{i}. p0 c0 e0 k0", "Device.WiFi.SSID.{i}. p0 c0 e0 k2",
		}},
		{name: "1.74 no options", req: supportedReq(true, false, false, false, false, "Device.WiFi."), want: []string{
			"Device.WiFi. p0 c0 e0 k0", "Device.WiFi.Radio.{i}. p0 c0 e0 k0", "Device.WiFi.SSID.{i}. p0 c0 e0 k0",
		}},
		{name: "placeholder left out", req: supportedReq(true, false, false, true, false, "Device.WiFi.SSID.{i}.Client."), want: []string{"Device.WiFi.SSID.{i}.Client.{i}. p1 c0 e0 k0"}},
		{name: "instance", req: supportedReq(true, false, false, true, false, "Device.WiFi.SSID.1.Client."), want: []string{"Device.WiFi.SSID.{i}.Client.{i}. p1 c0 e0 k0"}},
		{name: "instance that is not there", req: supportedReq(true, false, false, true, false, "Device.WiFi.SSID.9.Client."), code: 7016},
		{name: "instance behind {i}", req: supportedReq(true, false, false, true, false, "Device.WiFi.SSID.{i}.Client.1."), code: 7008},
		{name: "1.77 unsupported", req: supportedReq(true, false, false, true, false, "Device.Nope."), code: 7026},
		{name: "1.105 command", req: supportedReq(false, false, false, false, false, "Device.SelfTest()"), want: []string{"Device. p0 c1 e0 k0"}},
		{name: "1.106 event", req: supportedReq(false, true, false, true, false, "Device.Boot!"), want: []string{"Device. p0 c0 e1 k0"}},
		{name: "1.107 parameter", req: supportedReq(false, true, false, false, true, "Device.WiFi.SSID.{i}.Name"), want: []string{"Device.WiFi.SSID.{i}. p1 c0 e0 k0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := b.ask(primary, tc.req).GetResponse().GetGetSupportedDmResp().GetReqObjResults()[0]
			if res.GetErrCode() != tc.code {
				t.Fatalf("error %d %s, want %d", res.GetErrCode(), res.GetErrMsg(), tc.code)
			}
			if g := supportedPaths(res); !slices.Equal(g, tc.want) {
				t.Fatalf("got  %q\nwant %q", g, tc.want)
			}
		})
	}
}

// TP-469 1.72, 1.99: the fields of GetSupportedDMResp.
func TestGetSupportedDMFields(t *testing.T) {
	b := newBench(t)
	res := b.ask(primary, supportedReq(false, true, true, true, true, "Device.LocalAgent.Subscription.")).GetResponse().GetGetSupportedDmResp().GetReqObjResults()[0]
	o := res.GetSupportedObjs()[0]
	if o.GetAccess() != usppb.GetSupportedDMResp_OBJ_ADD_DELETE || !o.GetIsMultiInstance() {
		t.Errorf("object %v", o)
	}
	if k := o.GetUniqueKeySets(); len(k) != 2 || !slices.Equal(k[0].GetKeyNames(), []string{"Alias"}) || !slices.Equal(k[1].GetKeyNames(), []string{"Recipient", "ID"}) {
		t.Errorf("unique keys %v", k)
	}
	for _, p := range o.GetSupportedParams() {
		want := usppb.GetSupportedDMResp_PARAM_READ_WRITE
		if p.GetParamName() == "Recipient" || p.GetParamName() == "CreationDate" {
			want = usppb.GetSupportedDMResp_PARAM_READ_ONLY
		}
		if p.GetAccess() != want || p.GetValueType() == 0 || p.GetValueChange() == 0 {
			t.Errorf("parameter %v", p)
		}
	}
	cmd := b.ask(primary, supportedReq(false, true, false, false, false, "Device.SelfTest()")).GetResponse().GetGetSupportedDmResp().GetReqObjResults()[0].GetSupportedObjs()[0].GetSupportedCommands()[0]
	if cmd.GetCommandType() != usppb.GetSupportedDMResp_CMD_ASYNC || !slices.Equal(cmd.GetInputArgNames(), []string{"Seconds"}) || !slices.Equal(cmd.GetOutputArgNames(), []string{"Result"}) {
		t.Errorf("command %v", cmd)
	}
}
