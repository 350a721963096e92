package testenv

import (
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
)

// Notification is what a Notify says, whatever its kind.
type Notification struct {
	Agent  usp.EndpointID
	Kind   string // as in Subscription.{i}.NotifType
	Path   string // of the parameter, row, event or command
	Value  string // of a ValueChange
	Params map[string]string
	Key    string // of an OperationComplete
	Error  string // of an OperationComplete that tells of a failure
}

// Subscribe adds an enabled subscription and returns its ID.
func (c *Controller) Subscribe(agent usp.EndpointID, kind, reference string) string {
	c.t.Helper()
	return c.subscribe(agent, kind, reference, "false")
}

// SubscribeSurely is Subscribe with notifications that are sent again until the
// controller has answered them, whatever becomes of the bridge meanwhile.
func (c *Controller) SubscribeSurely(agent usp.EndpointID, kind, reference string) string {
	c.t.Helper()
	return c.subscribe(agent, kind, reference, "true")
}

func (c *Controller) subscribe(agent usp.EndpointID, kind, reference, retry string) string {
	c.t.Helper()
	c.last++
	id := fmt.Sprintf("subscription-%d", c.last)
	c.Add(agent, "Device.LocalAgent.Subscription.", map[string]string{
		"ID": id, "NotifType": kind, "ReferenceList": reference, "Enable": "true", "Persistent": "true", "NotifRetry": retry,
	})
	return id
}

// Arrived returns the next notification of a subscription if it has come already.
func (c *Controller) Arrived(subscription string) (n Notification, ok bool) {
	for len(c.taken[subscription]) == 0 {
		select {
		case n, open := <-c.Notifications():
			if !open {
				return Notification{}, false
			}
			id := n.Notify.GetSubscriptionId()
			c.taken[id] = append(c.taken[id], read(n))
		default:
			return Notification{}, false
		}
	}
	return c.Next(subscription), true
}

// Next returns the next notification of a subscription. What arrives for others
// is kept for them.
func (c *Controller) Next(subscription string) Notification {
	c.t.Helper()
	over := time.After(Patience)
	for len(c.taken[subscription]) == 0 {
		select {
		case n, ok := <-c.Notifications():
			if !ok {
				c.t.Fatalf("the connection broke while %s was waited for", subscription)
			}
			id := n.Notify.GetSubscriptionId()
			c.taken[id] = append(c.taken[id], read(n))
		case <-over:
			c.t.Fatalf("no notification of %s came within %v; others that came: %v", subscription, Patience, c.taken)
		}
	}
	next := c.taken[subscription][0]
	c.taken[subscription] = c.taken[subscription][1:]
	return next
}

func read(n client.Notification) Notification {
	note := Notification{Agent: n.Agent}
	if v := n.Notify.GetValueChange(); v != nil {
		note.Kind, note.Path, note.Value = "ValueChange", v.GetParamPath(), v.GetParamValue()
	}
	if o := n.Notify.GetObjCreation(); o != nil {
		note.Kind, note.Path, note.Params = "ObjectCreation", o.GetObjPath(), o.GetUniqueKeys()
	}
	if o := n.Notify.GetObjDeletion(); o != nil {
		note.Kind, note.Path = "ObjectDeletion", o.GetObjPath()
	}
	if e := n.Notify.GetEvent(); e != nil {
		note.Kind, note.Path, note.Params = "Event", e.GetObjPath()+e.GetEventName(), e.GetParams()
	}
	if o := n.Notify.GetOperComplete(); o != nil {
		note.Kind, note.Path, note.Params = "OperationComplete", o.GetObjPath()+o.GetCommandName(), o.GetReqOutputArgs().GetOutputArgs()
	}
	if o := n.Notify.GetOperComplete(); o != nil {
		note.Key, note.Error = o.GetCommandKey(), o.GetCmdFailure().GetErrMsg()
	}
	if n.Notify.GetOnBoardReq() != nil {
		note.Kind = "OnBoardRequest"
	}
	return note
}
