package mapping

import (
	"strings"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// The standard homes of what CWMP has RPCs for. The bridge serves them, beside
// rows that the CPE has; images of firmware are rows of the bridge on a CPE that
// has none of its own.

// imageTable is the table of firmware images.
const imageTable = "Device.DeviceInfo.FirmwareImage.{i}."

// Images are how many firmware images a CPE is shown with that has no table of
// them: the one that it runs, and one that the bridge keeps for it.
const Images = 2

// images adds the table of firmware images where the CPE has none.
func (c *compiler) images() {
	if t := c.tabs[imageTable]; t != nil && len(t.entries) > 0 {
		return
	}
	c.keepsImages = true
	for n := range uint32(Images) {
		c.enter(&entry{at: "built in", rule: &object{noCreate: true}, target: imageTable, fixed: []uint32{n + 1}, source: string(c.template.RootPath())})
	}
	for _, path := range []string{
		imageTable + "Name", imageTable + "Version", imageTable + "Available", imageTable + "Status", imageTable + "BootFailureLog",
		"Device.DeviceInfo.ActiveFirmwareImage", "Device.DeviceInfo.BootFirmwareImage",
	} {
		n := c.node(path)
		n.Kind, n.Access = dm.Param, dm.ReadOnly
		c.binds[n].own = strings.TrimPrefix(path, "Device.")
	}
}

// KeepsImages reports whether the table of firmware images is the bridge's, since
// the CPE has none.
func (p *Program) KeepsImages() bool { return p.keepsImages }

// rpcHomes are the standard's commands that are RPCs, or several steps, each with
// whether it goes on beyond a session.
var rpcHomes = map[string]bool{
	"Device.DeviceInfo.FirmwareImage.{i}.Download()":        true,
	"Device.DeviceInfo.FirmwareImage.{i}.Activate()":        true,
	"Device.DeviceInfo.VendorConfigFile.{i}.Backup()":       true,
	"Device.DeviceInfo.VendorConfigFile.{i}.Restore()":      true,
	"Device.DeviceInfo.VendorLogFile.{i}.Upload()":          true,
	"Device.SoftwareModules.InstallDU()":                    true,
	"Device.SoftwareModules.DeploymentUnit.{i}.Update()":    true,
	"Device.SoftwareModules.DeploymentUnit.{i}.Uninstall()": true,
	"Device.SoftwareModules.ExecEnv.{i}.Restart()":          false,
	"Device.SoftwareModules.ExecutionUnit.{i}.Restart()":    false,
}

// rpcNodes adds the commands of rpcHomes to objects that the CPE has.
func (c *compiler) rpcNodes() {
	for _, s := range c.std.served {
		durable, ours := rpcHomes[s.Command]
		if !ours {
			continue
		}
		owner := s.Command[:strings.LastIndexByte(s.Command, '.')+1]
		if c.nodes[owner] == nil {
			continue
		}
		if strings.HasSuffix(owner, "{i}.") && len(c.tab(owner).entries) == 0 {
			continue
		}
		e := c.std.elements[s.Command]
		n := e.node(s.Command[len(owner):])
		n.Durable = durable
		c.bindNode(owner, n, &binding{std: e, own: strings.TrimPrefix(s.Command, "Device.")})
	}
}
