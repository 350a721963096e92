package cpesim

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/lightweight"
)

// Notify sends a lightweight notification of the present values of parameters
// (TR-069 Annex M), as the CPE does by itself where an attribute asks for it. It
// fails if the CPE is not set up for it.
func (c *CPE) Notify(paths ...string) error {
	c.mu.Lock()
	to := net.JoinHostPort(c.text("ManagementServer.UDPLightweightNotificationHost"), c.text("ManagementServer.UDPLightweightNotificationPort"))
	used := c.text("ManagementServer.LightweightNotificationProtocolsUsed")
	n := lightweight.Notification{Time: c.now().Unix(), Username: c.text("ManagementServer.Username"), CNonce: rand.Text(), Device: c.identity}
	password := c.text("ManagementServer.Password")
	var missing error
	for _, path := range paths {
		node := c.tree.find(cwmp.Path(path))
		if node == nil || node.object {
			missing = fmt.Errorf("simulated CPE %s has no parameter %s", c.identity.Key(), path)
			continue
		}
		n.Values = append(n.Values, cwmp.ParameterValue{Name: cwmp.Path(path), Value: c.wire(cwmp.Path(path), node)})
	}
	c.mu.Unlock()
	if missing != nil {
		return missing
	}
	if used != "UDP" {
		return fmt.Errorf("simulated CPE %s: LightweightNotificationProtocolsUsed is %q", c.identity.Key(), used)
	}
	conn, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	_, err = conn.Write(n.Append(nil, to, password))
	return errors.Join(err, conn.Close())
}
