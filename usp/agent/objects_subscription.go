package agent

import (
	"math"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// The values of Device.LocalAgent.Subscription.{i}.NotifType.
const (
	valueChange       = "ValueChange"
	objectCreation    = "ObjectCreation"
	objectDeletion    = "ObjectDeletion"
	operationComplete = "OperationComplete"
	eventNotification = "Event"
)

func subscriptionObjects() []objectDecl {
	return []objectDecl{{
		path: subscriptionTable, access: dm.AddDelete, kind: store.Subscription,
		fixed: [][]string{{"Alias"}, {"Recipient", "ID"}},
		params: []paramDecl{
			alias(),
			boolean("Enable", "false"),
			{name: "Recipient", typ: dm.TypeString},
			text("ID", "", size(1, 64)),
			{name: "CreationDate", typ: dm.TypeDateTime, def: unknownTime},
			text("NotifType", valueChange, oneOf(valueChange, objectCreation, objectDeletion, operationComplete, eventNotification)),
			text("TriggerAction", triggerNotify, oneOf(triggerNotify, triggerConfig, triggerBoth)),
			{name: "TriggerConfigSettings", access: dm.ReadWrite, typ: dm.TypeString, list: true, check: triggerSetting},
			{name: "ReferenceList", access: dm.ReadWrite, typ: dm.TypeString, list: true, check: size(0, 256)},
			boolean("Persistent", "false"),
			unsigned("TimeToLive", "0", 0, math.MaxUint32),
			boolean("NotifRetry", "false"),
			unsigned("NotifExpiration", "0", 0, math.MaxUint32),
		},
		added:    subscriptionAdded,
		check:    subscriptionCheck,
		conflict: subscriptionConflict,
	}}
}

// subscriptionAdded makes the controller that adds a subscription its
// recipient. The built-in controller has no row to refer to: its subscriptions
// live as long as its connection and are not stored.
func subscriptionAdded(c *rowChange) error {
	if by := c.tx.by; by != nil && by.instance != 0 {
		c.set("Recipient", controllerPath(by.instance))
	} else if c.row.via = c.tx.via; c.row.via == nil {
		return usp.Errorf(usp.ErrRequestDenied, "", "a subscription of the built-in controller needs a connection that stays open")
	}
	if c.get("ID") == "" {
		c.set("ID", "cpe-"+strconv.FormatUint(uint64(c.key.inst.Last()), 10))
	}
	c.set("CreationDate", c.tx.host.cfg.Now().UTC().Format(time.RFC3339))
	return nil
}

func subscriptionCheck(c *rowChange) error {
	for _, rel := range []string{"TriggerAction", "TriggerConfigSettings"} {
		if by := c.tx.by; c.given[c.key.class.byName[rel]] && c.old != nil && by != nil && by.roles.everywhere&allRights != allRights && c.get("Recipient") != controllerPath(by.instance) {
			// They are applied with the recipient's rights, which may be more.
			return &usp.Error{
				Code: usp.ErrPermissionDenied, Msg: rel + " of a subscription is set by its recipient alone",
				Params: []usp.ParamError{{Param: rel, Code: usp.ErrPermissionDenied, Msg: "the subscription is another controller's"}},
			}
		}
	}
	return nil
}

// persists reports whether a row outlives a reboot of the device
// (Device.LocalAgent.Subscription.{i}.Persistent).
func (sub *subscription) persists(s *state) bool { return s.named(sub.key, "Persistent") == "true" }

// subscription is a row of the Subscription table, compiled.
type subscription struct {
	key        rowKey
	id         string
	kind       string
	references []path.Path
	recipient  *controller // nil for the built-in controller
	via        any         // connection of the built-in controller
	retry      bool
	expiration time.Duration
	notifies   bool
	settings   []*usppb.Set_UpdateObject // TriggerConfigSettings, if TriggerAction has them applied
}

func (d *derived) compileSubscriptions(spec *localSpec, s *state) {
	class := spec.classAt(subscriptionTable)
	recipients := map[string]*controller{}
	for n, c := range d.byInstance {
		recipients[controllerPath(n)] = c
	}
	for _, n := range d.tables[rowKey{class: class}] {
		k := rowKey{class, dm.Inst(n)}
		if s.named(k, "Enable") != "true" {
			continue
		}
		sub := &subscription{
			key: k, id: s.named(k, "ID"), kind: s.named(k, "NotifType"),
			recipient: recipients[s.named(k, "Recipient")], via: s.rows[k].via,
			retry:      s.named(k, "NotifRetry") == "true",
			expiration: time.Duration(number(s.named(k, "NotifExpiration"))) * time.Second,
		}
		if sub.via == nil && (sub.recipient == nil || !sub.recipient.enabled) {
			continue
		}
		for _, ref := range splitList(s.named(k, "ReferenceList")) {
			if p, err := path.Parse(ref); err == nil { // checked when it was stored
				sub.references = append(sub.references, p)
			}
		}
		action := s.named(k, "TriggerAction")
		if sub.notifies = action != triggerConfig; action != triggerNotify {
			sub.settings = triggerSettings(s.named(k, "TriggerConfigSettings"))
		}
		if len(sub.references) > 0 {
			d.subscribers = append(d.subscribers, sub)
		}
	}
}

// deadline returns when a subscription ends by itself, zero if it does not
// (Device.LocalAgent.Subscription.{i}.TimeToLive).
func (s *state) deadline(k rowKey) time.Time {
	ttl := number(s.named(k, "TimeToLive"))
	created, err := time.Parse(time.RFC3339, s.named(k, "CreationDate"))
	if ttl == 0 || err != nil {
		return time.Time{}
	}
	return created.Add(time.Duration(ttl) * time.Second)
}
