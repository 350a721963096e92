package conformance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// The firmware that cases upgrade to. A simulated CPE takes its version from the
// name of the file.
const (
	firmwareFile    = "gateway-7.3.1.bin"
	firmwareVersion = "7.3.1"

	images      = "Device.DeviceInfo.FirmwareImage."
	activeImage = "Device.DeviceInfo.ActiveFirmwareImage"
)

// firmwareCases are the tests of firmware (9.3 to 9.8).
func firmwareCases() []testCase {
	return []testCase{
		{number: "9.3", title: "Download of firmware that activates itself", play: func(t *trial) {
			image := t.inactive()
			t.follow(image+"Download()", true)
			t.Operate(image+"Download()", "upgrade", "URL="+t.firmwareURL(), "AutoActivate=true", fmt.Sprintf("FileSize=%d", len(firmwareContent)))
			t.completed(t.notice("end"), image+"Download()", "upgrade")
			t.transferred("0")
			t.bootedFirmware()
			t.runs(image)
		}},
		{number: "9.4", title: "Activation of firmware at once", play: func(t *trial) {
			t.activated("TimeWindow.1.Start=1", "TimeWindow.1.End=100", "TimeWindow.1.Mode=Immediately")
		}},
		{number: "9.5", title: "Activation of firmware in a time window", play: func(t *trial) {
			t.activated("TimeWindow.1.Start=0", "TimeWindow.1.End=120", "TimeWindow.1.Mode=AnyTime")
		}},
		{number: "9.6", title: "Firmware with a wrong checksum", play: func(t *trial) {
			image := t.inactive()
			t.follow(image+"Download()", true)
			t.Operate(image+"Download()", "wrong", "URL="+t.firmwareURL(), "AutoActivate=false", "CheckSumAlgorithm=SHA-1", "CheckSum="+strings.Repeat("00", 20))
			t.transferred("7022")
			if got := t.value(image + "Status"); got != "ValidationFailed" {
				t.Errorf("the image's Status is %s", got)
			}
			if n := t.cpe.Called("Download"); n != 0 {
				t.Errorf("the CPE was given it %d times", n)
			}
		}},
		{number: "9.7", title: "Download to the active image", play: func(t *trial) {
			image := t.value(activeImage) + "."
			t.follow(image+"Download()", true)
			t.Operate(image+"Download()", "active", "URL="+t.firmwareURL(), "AutoActivate=true")
			if n := t.notice("end").GetOperComplete(); n.GetCmdFailure() != nil {
				// A device with several images may refuse (test metric 3).
				if t.images() < 2 || t.cpe.Called("Download") != 0 {
					t.Errorf("refused: %v", n.GetCmdFailure())
				}
				return
			}
			t.transferred("0")
			t.bootedFirmware()
		}},
		{number: "9.8", timed: true, title: "An activation is canceled", play: func(t *trial) {
			image := t.staged()
			t.follow(image+"Activate()", false)
			start, end := t.seconds(120, 2), t.seconds(500, 4)
			row := t.requested(t.Operate(image+"Activate()", "", fmt.Sprintf("TimeWindow.1.Start=%d", start), fmt.Sprintf("TimeWindow.1.End=%d", end),
				"TimeWindow.1.Mode=AnyTime").operated(image + "Activate()"))
			t.Operate(row+"Cancel()", "")
			if n := t.notice("end").GetOperComplete().GetCmdFailure(); n == nil {
				t.Error("the activation has ended well")
			}
			t.subscribe("fence", "OperationComplete", timer)
			t.Operate(timer, "fence", fmt.Sprintf("DelaySeconds=%d", end))
			t.longNotice("fence", end)
			if left := t.waiting("boot"); len(left) > 0 {
				t.Errorf("told of %v", left[0].msg)
			}
			t.unchanged(requests, nil)
			if got := t.cpe.Value(t.field.gateway.root() + "DeviceInfo.SoftwareVersion"); got == firmwareVersion {
				t.Error("the CPE runs the new firmware")
			}
		}},
	}
}

var firmwareContent = strings.Repeat("a firmware image ", 2048)

// firmwareURL serves the firmware for the length of the case.
func (t *trial) firmwareURL() string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(firmwareContent)) // one who has gone does not get it
	}))
	t.Cleanup(s.Close)
	return s.URL + "/" + firmwareFile
}

// inactive returns an image that the device does not run.
func (t *trial) inactive() string {
	t.Helper()
	active := t.value(activeImage)
	a := t.Get(images + "*.Status")
	for row := range a.values(a.got(1)[0], images+"*.Status") {
		if strings.TrimSuffix(row, ".") != active {
			return row
		}
	}
	t.Fatal("the device has one image only")
	return ""
}

// images returns how many images the device has.
func (t *trial) images() int {
	t.Helper()
	a := t.Get(images + "*.Status")
	return len(a.values(a.got(1)[0], images+"*.Status"))
}

// follow subscribes to the end of a command, to boots, and to the ends of
// transfers. What is not persistent ends with the reboot that it waits for.
func (t *trial) follow(command string, transfers bool) {
	t.Helper()
	t.subscribe("end", "OperationComplete", command, "Persistent=true")
	t.subscribe("boot", "Event", "Device.Boot!", "Persistent=true")
	if transfers {
		t.subscribe("transfer", "Event", "Device.LocalAgent.TransferComplete!", "Persistent=true")
	}
}

// staged downloads the firmware to an image that the device does not run.
func (t *trial) staged() (image string) {
	t.Helper()
	image = t.inactive()
	t.subscribe("staged", "OperationComplete", image+"Download()")
	t.Operate(image+"Download()", "stage", "URL="+t.firmwareURL(), "AutoActivate=false")
	t.completed(t.notice("staged"), image+"Download()", "stage")
	t.until("the image is available", func() bool { return t.value(image+"Status") == "Available" })
	return image
}

// activated activates an image that does not run, in a time window.
func (t *trial) activated(window ...string) {
	t.Helper()
	image := t.staged()
	t.follow(image+"Activate()", false)
	t.Operate(image+"Activate()", "activate", window...)
	t.completed(t.notice("end"), image+"Activate()", "activate")
	t.bootedFirmware()
	t.runs(image)
}

// transferred expects TransferComplete! with a fault code.
func (t *trial) transferred(fault string) {
	t.Helper()
	if e := t.notice("transfer").GetEvent(); e.GetParams()["FaultCode"] != fault {
		t.Errorf("TransferComplete! is %v, want FaultCode %s", e, fault)
	}
}

// bootedFirmware expects Boot! that tells of new firmware.
func (t *trial) bootedFirmware() {
	t.Helper()
	var e *usppb.Notify_Event
	for e = t.notice("boot").GetEvent(); e.GetParams()["FirmwareUpdated"] != "true"; e = t.notice("boot").GetEvent() {
		// A CPE may boot more than once on its way.
		if e == nil {
			t.Fatal("notified of something else than Boot!")
		}
	}
}

// runs expects that the device runs the new firmware, which is in an image.
func (t *trial) runs(image string) {
	t.Helper()
	t.cpe.AwaitIdle()
	t.until("the new version is known", func() bool { return t.value("Device.DeviceInfo.SoftwareVersion") == firmwareVersion })
	t.until("the image is the active one", func() bool { return t.value(activeImage)+"." == image })
}
