package mtptest

import (
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// NoQuota is a hook of a mochi broker that turns off its count of what a client may
// still be sent: looking for what waits for it, mochi takes a read lock twice, which
// never ends if somebody publishes to the client in between.
type NoQuota struct{ mochi.HookBase }

// ID names the hook.
func (*NoQuota) ID() string { return "no-quota" }

// Provides reports what the hook is called for.
func (*NoQuota) Provides(event byte) bool {
	return event == mochi.OnConnect || event == mochi.OnSessionEstablished
}

// OnConnect is called when a client connects.
func (*NoQuota) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	cl.State.Inflight.ResetSendQuota(0)
	return nil
}

// OnSessionEstablished is called when a client has taken over a session, with a quota
// that is set anew.
func (*NoQuota) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	cl.State.Inflight.ResetSendQuota(0)
}
