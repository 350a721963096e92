package agent

import (
	"context"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// permitted reports whether a notification that waits may still be sent: roles can
// have changed since it was made.
func (h *Host) permitted(ctx context.Context, n *notification) (bool, error) {
	if n.Subscription == 0 {
		return true, nil // an OnBoardRequest tells what every controller knows
	}
	if err := n.decode(); err != nil {
		return false, err
	}
	d, err := h.open(ctx, n.agent)
	if err != nil {
		return false, err
	}
	path, need := subject(n.msg.GetBody().GetRequest().GetNotify())
	ref, there := elementAt(d.schema, path)
	if !there {
		return n.to.roles.everywhere&need == need, nil // the device has lost it since
	}
	a := n.to.roles.in(d)
	if v := n.msg.GetBody().GetRequest().GetNotify().GetValueChange(); ref.Node.Secured && v.GetParamValue() != "" {
		return a.can(ref, need) && a.shows(ref), nil
	}
	return a.can(ref, need), nil
}

// subject returns the element that a notification is about, and the right that it
// takes.
func subject(n *usppb.Notify) (path string, need rights) {
	switch n := n.GetNotification().(type) {
	case *usppb.Notify_ValueChange_:
		return n.ValueChange.GetParamPath(), notifyParam
	case *usppb.Notify_ObjCreation:
		return n.ObjCreation.GetObjPath(), notifyCreation
	case *usppb.Notify_ObjDeletion:
		return n.ObjDeletion.GetObjPath(), notifyDeletion
	case *usppb.Notify_OperComplete:
		return n.OperComplete.GetObjPath() + n.OperComplete.GetCommandName(), notifyEvent
	case *usppb.Notify_Event_:
		return n.Event.GetObjPath() + n.Event.GetEventName(), notifyEvent
	}
	return "", allRights
}
