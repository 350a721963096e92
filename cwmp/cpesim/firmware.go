package cpesim

import (
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// The file types of firmware (TR-069 A.3.2.8): the first ends in another
// SoftwareVersion and a reboot, the second is kept in a slot until it is booted.
const (
	firmware       = "1 Firmware Upgrade Image"
	storedFirmware = "6 Stored Firmware Image"
)

// The parameters of firmware images, below the root.
const (
	imagesTable = "DeviceInfo.FirmwareImage."
	activeImage = "DeviceInfo.ActiveFirmwareImage"
	bootImage   = "DeviceInfo.BootFirmwareImage"
)

// arrived puts a file into force: a firmware is booted. c.mu is held.
func (c *CPE) arrived(t transfer) {
	if t.FileType != firmware && t.FileType != storedFirmware {
		return
	}
	slot := c.installFirmware(t)
	if t.FileType == storedFirmware {
		return
	}
	if slot != "" {
		c.tree.set(c.tree.model.root+bootImage, strings.TrimSuffix(string(slot), "."))
	}
	if c.profile.TransferCompleteBeforeBoot && !c.profile.NoTransferComplete {
		c.pending.BootDue = true
		return
	}
	c.beginBoot()
}

var versionPattern = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)

// installFirmware takes a firmware in: into the slot that does not run, which it
// returns; a CPE without slots has its new SoftwareVersion at once. The version is
// the one that the file's name tells, else the next.
func (c *CPE) installFirmware(t transfer) (slot cwmp.Path) {
	name := t.TargetFileName
	if target, err := url.Parse(t.URL); err == nil && name == "" {
		name = path.Base(target.Path)
	}
	parameter := c.tree.model.root + "DeviceInfo.SoftwareVersion"
	n := c.tree.find(parameter)
	if n == nil {
		return ""
	}
	version := versionPattern.FindString(strings.TrimSuffix(name, path.Ext(name)))
	if version == "" {
		version = nextVersion(c.value(parameter, n))
	}
	if c.profile.KeepsOldFirmware {
		return ""
	}
	if slot = c.idleSlot(); slot == "" {
		c.change(parameter, n, version)
		return ""
	}
	for param, value := range map[cwmp.Path]string{"Name": name, "Version": version, "Status": "Available", "Available": "true"} {
		if c.tree.find(slot+param) != nil {
			c.tree.set(slot+param, value)
		}
	}
	c.dirty = true
	return slot
}

// idleSlot returns a slot for firmware that the CPE does not run, "" if it has no
// slots.
func (c *CPE) idleSlot() cwmp.Path {
	root := c.tree.model.root
	active := c.text(activeImage)
	if active == "" {
		return ""
	}
	for row := 1; ; row++ {
		slot := root + imagesTable + cwmp.Path(strconv.Itoa(row)) + "."
		if c.tree.find(slot) == nil {
			return ""
		}
		if string(slot) != active+"." {
			return slot
		}
	}
}

// bootSlot runs the firmware of the slot that is to be booted. c.mu is held.
func (c *CPE) bootSlot() {
	root := c.tree.model.root
	boot, active := c.text(bootImage), c.text(activeImage)
	slot, old := cwmp.Path(boot+"."), cwmp.Path(active+".")
	if boot == active || c.tree.find(slot+"Version") == nil || c.textAt(string(slot+"Available")) == "false" {
		return
	}
	c.tree.set(root+activeImage, boot)
	c.tree.set(old+"Status", "Available")
	c.tree.set(slot+"Status", "Active")
	parameter := root + "DeviceInfo.SoftwareVersion"
	c.change(parameter, c.tree.find(parameter), c.textAt(string(slot+"Version")))
}

// nextVersion counts the last number of a version up by one.
func nextVersion(version string) string {
	end := len(version)
	for end > 0 && (version[end-1] < '0' || version[end-1] > '9') {
		end--
	}
	start := end
	for start > 0 && version[start-1] >= '0' && version[start-1] <= '9' && end-start < 9 {
		start--
	}
	if start == end {
		return version + ".1"
	}
	number, err := strconv.Atoi(version[start:end])
	if err != nil {
		return version + ".1"
	}
	return version[:start] + strconv.Itoa(number+1) + version[end:]
}
