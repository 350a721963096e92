package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// The values of Device.LocalAgent.Subscription.{i}.TriggerAction: what a
// subscription does when it holds. Config applies its TriggerConfigSettings in the
// name of its recipient.
const (
	triggerNotify = "Notify"
	triggerConfig = "Config"
	triggerBoth   = "NotifyAndConfig"
)

// triggerSetting checks an item of TriggerConfigSettings: the path of a parameter,
// "=" and its value.
func triggerSetting(item string) error {
	name, _, ok := cutSetting(item)
	if !ok {
		return fmt.Errorf("%q: want the path of a parameter, =, and a value", shorten(item))
	}
	p, err := path.Parse(name)
	if err == nil && p.Kind != path.Parameter {
		err = fmt.Errorf("%q is not the path of a parameter", shorten(name))
	}
	return err
}

// cutSetting divides an item behind the path: an "=" inside the brackets of a
// search expression belongs to it.
func cutSetting(item string) (name, value string, ok bool) {
	inside, quoted := false, false
	for i := range len(item) {
		switch c := item[i]; {
		case c == '"' && inside:
			quoted = !quoted
		case quoted:
		case c == '[' || c == ']':
			inside = c == '['
		case c == '=' && !inside:
			return item[:i], item[i+1:], true
		}
	}
	return "", "", false
}

// unescapeItem undoes what a list item has escaped (TR-106 3.2.3).
var unescapeItem = strings.NewReplacer("%2C", ",", "%2c", ",", "%25", "%")

// triggerSettings makes the updates that TriggerConfigSettings asks for.
func triggerSettings(list string) []*usppb.Set_UpdateObject {
	var updates []*usppb.Set_UpdateObject
	for _, item := range splitList(list) {
		name, value, _ := cutSetting(item) // checked when it was stored
		at := strings.LastIndexByte(name, '.') + 1
		updates = append(updates, &usppb.Set_UpdateObject{ObjPath: name[:at], ParamSettings: []*usppb.Set_UpdateParamSetting{
			{Param: name[at:], Value: unescapeItem.Replace(value), Required: true}}})
	}
	return updates
}

// configure applies the settings of the subscriptions that hold, each apart from
// the others. What is the agent's own is set at once, if the caller holds a.write:
// whoever changed what is subscribed to finds it set. What is the device's is set
// in the background.
func (h *Host) configure(ctx context.Context, a *agent, notes []*notification, locked bool) {
	var later []*notification
	for _, n := range triggers(notes) {
		if locked && n.trigger.ownOnly() {
			h.applySettings(ctx, a, n)
		} else {
			later = append(later, n)
		}
	}
	if len(later) == 0 || h.ctx.Err() != nil {
		return
	}
	h.agents.repin(a)
	h.background.Add(1)
	go func() {
		defer h.background.Done()
		defer h.agents.release(a)
		ctx, cancel := context.WithTimeout(h.ctx, 2*h.cfg.Deadline)
		defer cancel()
		a.write.Lock()
		defer a.write.Unlock()
		for _, n := range later {
			h.applySettings(ctx, a, n)
		}
	}()
}

// triggers returns those of notes that are none; each subscription once, however
// much of what it refers to has changed.
func triggers(notes []*notification) (out []*notification) {
	for _, n := range notes {
		if n.trigger != nil && !slices.ContainsFunc(out, func(o *notification) bool { return o.trigger == n.trigger }) {
			out = append(out, n)
		}
	}
	return out
}

// ownOnly reports whether all settings are of the agent's own objects.
func (sub *subscription) ownOnly() bool {
	for _, u := range sub.settings {
		if !strings.HasPrefix(u.ObjPath, agentObject) {
			return false
		}
	}
	return true
}

// applySettings sets what a subscription asks for, as far as its recipient may. A
// change made so pulls no further triggers, since they could pull each other for
// ever. The caller holds a.write.
func (h *Host) applySettings(ctx context.Context, a *agent, n *notification) {
	s := &session{host: h, agent: a, by: n.to, triggered: true}
	err := s.open(ctx)
	var resp *usppb.Response
	if err == nil {
		resp, err = s.set(ctx, &usppb.Set{AllowPartial: true, UpdateObjs: n.trigger.settings})
	}
	for _, r := range resp.GetSetResp().GetUpdatedObjResults() {
		if f := r.GetOperStatus().GetOperFailure(); f != nil && err == nil {
			err = usp.Errorf(usp.ErrorCode(f.GetErrCode()), r.GetRequestedPath(), "%s", f.GetErrMsg())
		}
	}
	if err != nil {
		h.log.Warn("TriggerConfigSettings could not all be applied", "agent", a.id,
			"subscription", dm.Ref{Node: n.trigger.key.class.node, Inst: n.trigger.key.inst}.Path(), "error", err)
	}
	for _, f := range s.after {
		f()
	}
}
