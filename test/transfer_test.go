package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
)

const (
	downloadCommand = "Device.X_USPBRIDGE_CWMP.Download()"
	uploadCommand   = "Device.X_USPBRIDGE_CWMP.Upload()"
	newImage        = "gateway-9.8.7.bin"
	newSoftware     = "9.8.7"
)

func firmware(env *testenv.Env) map[string]string {
	env.File(newImage, strings.Repeat("a firmware image ", 10_000))
	return map[string]string{"FileType": "1 Firmware Upgrade Image", "URL": "file:" + newImage}
}

// TestFirmwareUpgrade: a controller has a CPE fetch a firmware from the bridge, and
// is told of the end, of the transfer and of the boot, each once.
func TestFirmwareUpgrade(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		ended := controller.Subscribe(cpe.Agent, "OperationComplete", "Device.")
		told := controller.Subscribe(cpe.Agent, "Event", "Device.LocalAgent.TransferComplete!")
		booted := controller.Subscribe(cpe.Agent, "Event", "Device.Boot!")
		old := controller.Value(cpe.Agent, "Device.DeviceInfo.SoftwareVersion")

		request := controller.OperateWith(cpe.Agent, downloadCommand, "upgrade", firmware(env)).GetReqObjPath()
		if !strings.HasPrefix(request, "Device.LocalAgent.Request.") {
			t.Fatalf("Download() runs as %q", request)
		}
		if n := controller.Next(booted); n.Params["FirmwareUpdated"] != "true" {
			t.Errorf("Boot! with %v", n.Params)
		}
		if n := controller.Next(told); n.Params["Command"] != downloadCommand || n.Params["CommandKey"] != "upgrade" ||
			n.Params["FaultCode"] != "0" || n.Params["TransferURL"] != "file:"+newImage || n.Params["Requestor"] != string(testenv.DefaultController) {
			t.Errorf("TransferComplete! with %v", n.Params)
		}
		if n := controller.Next(ended); n.Path != downloadCommand || n.Key != "upgrade" || n.Error != "" || n.Params["Evidence"] != "TransferComplete" {
			t.Errorf("OperationComplete is %+v", n)
		}
		if got := controller.Value(cpe.Agent, "Device.DeviceInfo.SoftwareVersion"); got != newSoftware || got == old {
			t.Errorf("SoftwareVersion is %q after %q", got, old)
		}
		if _, err := controller.TryGet(cpe.Agent, request+"Status"); err == nil {
			t.Error("the Request row is still there")
		}
		if n := cpe.Called("Download"); n != 1 {
			t.Errorf("the CPE was told %d times", n)
		}
	})
}

// TestUploadToBridge: a controller has a CPE put a file on the bridge.
func TestUploadToBridge(t *testing.T) {
	env := testenv.Start(t, program, testenv.Config{})
	cpe := env.CPE(cpesim.TR181())
	controller := env.Controller()
	ended := controller.Subscribe(cpe.Agent, "OperationComplete", uploadCommand)
	controller.OperateWith(cpe.Agent, uploadCommand, "log", map[string]string{"FileType": "2 Vendor Log File", "URL": "messages.log"})
	n := controller.Next(ended)
	if n.Error != "" || n.Params["File"] != "uploads/"+string(cpe.Agent)+"/messages.log" {
		t.Fatalf("OperationComplete is %+v", n)
	}
	if text, err := os.ReadFile(filepath.Join(env.FilesDir(), n.Params["File"])); err != nil || !strings.Contains(string(text), "Vendor Log") {
		t.Errorf("the file has %q, %v", text, err)
	}
}

// TestFailedDownload: what the CPE says of the failure is in the error.
func TestFailedDownload(t *testing.T) {
	env := testenv.Start(t, program, testenv.Config{})
	cpe := env.CPE(cpesim.TR181())
	controller := env.Controller()
	ended := controller.Subscribe(cpe.Agent, "OperationComplete", downloadCommand)
	controller.OperateWith(cpe.Agent, downloadCommand, "a", map[string]string{"FileType": "3 Vendor Configuration File", "URL": "http://127.0.0.1:1/x"})
	if n := controller.Next(ended); !strings.Contains(n.Error, "CWMP fault 9015") {
		t.Errorf("OperationComplete is %+v", n)
	}
	controller.OperateWith(cpe.Agent, downloadCommand, "b", map[string]string{"FileType": "3 Vendor Configuration File", "URL": "file:nothing"})
	if n := controller.Next(ended); !strings.Contains(n.Error, "no file") {
		t.Errorf("OperationComplete is %+v", n)
	}
}

// TestKilledInDownload: a bridge that is killed at any point of a download has
// the CPE fetch the file once and tells of the end once.
func TestKilledInDownload(t *testing.T) {
	for _, point := range []struct {
		name    string
		profile cpesim.Profile
		delay   string
		offline bool
		reached func(cpe *testenv.CPE) bool
	}{
		{"before the CPE is told", cpesim.Profile{}, "", true, func(*testenv.CPE) bool { return true }},
		{"before its answer comes", cpesim.Profile{DieAfter: "Download", DieOnce: true}, "2", false, func(cpe *testenv.CPE) bool { return cpe.Called("Download") > 0 }},
		{"when it has answered", cpesim.Profile{}, "2", false, func(cpe *testenv.CPE) bool { return cpe.Called("Download") > 0 }},
		{"when it has the new firmware", cpesim.Profile{}, "", false, func(cpe *testenv.CPE) bool {
			v, _ := cpe.Get("Device.DeviceInfo.SoftwareVersion")
			return v == newSoftware
		}},
	} {
		t.Run(point.name, func(t *testing.T) {
			env := testenv.Start(t, program, testenv.Config{})
			cpe := env.CPEWith(cpesim.Config{Model: cpesim.TR181(), Profile: &point.profile})
			controller := env.Controller()
			ended := controller.SubscribeSurely(cpe.Agent, "OperationComplete", downloadCommand)
			args := firmware(env)
			args["DelaySeconds"] = point.delay
			cpe.SetOnline(!point.offline)
			request := controller.OperateWith(cpe.Agent, downloadCommand, "first", args).GetReqObjPath()
			testenv.Until(t, point.name, func() bool { return point.reached(cpe) })
			env.Kill()
			n, told := controller.Arrived(ended) // the bridge may have been as quick
			env.Restart()
			cpe.SetOnline(true)
			controller = env.Controller()
			testenv.Until(t, "the CPE comes again", func() bool { return cpe.CPE.Inform() == nil })

			if !told {
				n = controller.Next(ended)
			}
			if n.Key != "first" || n.Error != "" {
				t.Errorf("OperationComplete is %+v", n)
			}
			if v := cpe.Value("Device.DeviceInfo.SoftwareVersion"); v != newSoftware {
				t.Errorf("the CPE runs %s", v)
			}
			if n := cpe.Called("Download"); n != 1 {
				t.Errorf("the CPE was told %d times", n)
			}
			if _, err := controller.TryGet(cpe.Agent, request+"Status"); err == nil {
				t.Error("the Request row is still there")
			}
			// Were the end told again, it would come before that of another download.
			controller.OperateWith(cpe.Agent, downloadCommand, "second", map[string]string{"FileType": "3 Vendor Configuration File", "URL": "file:nothing"})
			n = controller.Next(ended)
			if told && n.Key == "first" { // its response was not there before the end
				n = controller.Next(ended)
			}
			if n.Key != "second" {
				t.Errorf("told again: %+v", n)
			}
		})
	}
}

// TestRequestOutlivesBridge: the Request row of a download is there after kill -9,
// and can still be canceled.
func TestRequestOutlivesBridge(t *testing.T) {
	env := testenv.Start(t, program, testenv.Config{})
	cpe := env.CPE(cpesim.TR181())
	controller := env.Controller()
	ended := controller.SubscribeSurely(cpe.Agent, "OperationComplete", downloadCommand)
	args := firmware(env)
	args["DelaySeconds"] = "3600"
	request := controller.OperateWith(cpe.Agent, downloadCommand, "later", args).GetReqObjPath()
	testenv.Until(t, "the CPE has it", func() bool { return cpe.Called("Download") == 1 })
	cpe.AwaitIdle()
	env.Kill()
	env.Restart()
	controller = env.Controller()
	if got := controller.Value(cpe.Agent, request+"Status"); got != "Active" {
		t.Errorf("Status is %s", got)
	}
	controller.Operate(cpe.Agent, request+"Cancel()", "")
	if n := controller.Next(ended); n.Key != "later" || !strings.Contains(n.Error, "canceled") {
		t.Errorf("OperationComplete is %+v", n)
	}
	if n := cpe.Called("CancelTransfer"); n != 1 {
		t.Errorf("CancelTransfer was sent %d times", n)
	}
}

// TestKilledInReboot: a bridge that is killed while the CPE reboots has it reboot
// once, and tells of the boot with its cause once.
func TestKilledInReboot(t *testing.T) {
	env := testenv.Start(t, program, testenv.Config{})
	cpe := env.CPEWith(cpesim.Config{Model: cpesim.TR181(), Profile: &cpesim.Profile{DieAfter: "Reboot", DieOnce: true}})
	controller := env.Controller()
	booted := controller.SubscribeSurely(cpe.Agent, "Event", "Device.Boot!")
	operated := make(chan struct{})
	go func() {
		defer close(operated)
		_ = controller.TryOperate(cpe.Agent, "Device.Reboot()", "boot") // its bridge is killed
	}()
	testenv.Until(t, "the CPE reboots", func() bool { return cpe.Called("Reboot") == 1 })
	env.Kill()
	<-operated
	env.Restart()
	controller = env.Controller()
	if n := controller.Next(booted); n.Params["Cause"] != "RemoteReboot" || n.Params["CommandKey"] != "boot" {
		t.Errorf("Boot! with %v", n.Params)
	}
	testenv.Until(t, "the CPE comes again", func() bool { return cpe.CPE.Inform() == nil })
	if n := cpe.Called("Reboot"); n != 1 {
		t.Errorf("the CPE was told %d times", n)
	}
}

// TestKilledInAdd: the row of an Add whose answer a killed bridge never got is
// taken away, since no controller knows of it.
func TestKilledInAdd(t *testing.T) {
	for _, rpc := range []string{"AddObject", "SetParameterValues"} {
		t.Run(rpc, func(t *testing.T) {
			eachGateway(t, func(t *testing.T, g gateway) {
				env := testenv.Start(t, program, testenv.Config{})
				profile := &cpesim.Profile{}
				cpe := env.CPEWith(cpesim.Config{Model: g.model(), Profile: profile})
				rows := rowsOnCPE(cpe, g)
				cpe.Behave(profile, cpesim.Profile{DieAfter: rpc})
				controller := env.Controller()
				added := make(chan error, 1)
				go func() {
					_, err := controller.TryAdd(cpe.Agent, portMappings, map[string]string{"ExternalPort": "8080", "Protocol": "TCP"})
					added <- err
				}()
				before := cpe.Called(rpc)
				testenv.Until(t, rpc+" is carried out", func() bool { return cpe.Called(rpc) > before || rowsOnCPE(cpe, g) > rows && rpc == "AddObject" })
				env.Kill()
				if err := <-added; err == nil {
					t.Fatal("the Add was answered")
				}
				env.Restart()
				testenv.Until(t, "the row is gone", func() bool { return cpe.CPE.Inform() == nil && rowsOnCPE(cpe, g) == rows })
				if got := env.Controller().Instances(cpe.Agent, portMappings); len(got) != rows {
					t.Errorf("rows are %v, %d on the CPE", got, rows)
				}
			})
		})
	}
}
