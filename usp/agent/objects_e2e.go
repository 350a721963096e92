package agent

import (
	"math"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
)

// e2eObject is the session object of a controller, relative to its row.
const e2eObject = "E2ESession."

// The values of E2ESession.PayloadSecurity.
const (
	payloadPlain = "Plaintext"
	payloadTLS   = "TLS"
)

// e2eSecurity is whether TLS may be in a controller's sessions at all. The data
// model has no place for it; the operator's configuration decides.
const e2eSecurity = e2eObject + "Security"

func sessionObjects() []objectDecl {
	return []objectDecl{{
		path: controllerTable + e2eObject,
		params: []paramDecl{
			text("SessionMode", string(e2e.Allow), oneOf(string(e2e.Require), string(e2e.Allow), string(e2e.Forbid))),
			computed("Status", dm.TypeString, func(v *view, inst dm.Instance) string {
				status, _ := v.session(inst)
				return string(status)
			}),
			unsigned("SessionExpiration", "0", 0, math.MaxUint32),
			unsigned("SessionRetryMinimumWaitInterval", "5", 1, 65535),
			unsigned("SessionRetryIntervalMultiplier", "2000", 1000, 65535),
			computed("CurrentRetryCount", dm.TypeUnsignedInt, func(v *view, inst dm.Instance) string {
				_, retries := v.session(inst)
				return strconv.Itoa(retries)
			}),
			unsigned("MaxUSPRecordSize", "0", 0, math.MaxUint32),
			{name: "MaxRetransmitTries", access: dm.ReadWrite, typ: dm.TypeInt, def: "0", check: span(-1, 10)},
			text("PayloadSecurity", payloadTLS, oneOf(payloadPlain, payloadTLS)),
			{name: "Security", typ: dm.TypeString, def: string(e2e.Allow), hidden: true},
		},
		commands: []commandDecl{{name: "Reset()", run: resetSession}},
	}}
}

// leastRecord is the smallest MaxUSPRecordSize beside 0, which is no bound.
const leastRecord = 512

func checkE2E(c *rowChange) error {
	if size := number(c.get(e2eObject + "MaxUSPRecordSize")); size > 0 && size < leastRecord {
		return invalid(e2eObject+"MaxUSPRecordSize", usp.ErrInvalidValue, "a record has 512 bytes at least; 0 is no bound")
	}
	return nil
}

// session tells how the session with a controller stands.
func (v *view) session(controller dm.Instance) (e2e.Status, int) {
	c := v.index().byInstance[controller.At(0)]
	if c == nil {
		return e2e.Down, 0
	}
	return v.host.sessions.Status(e2e.Pair{Local: v.id, Remote: c.endpoint})
}

// sessionPolicy compiles the session object of a controller's row.
func sessionPolicy(s *state, k rowKey) e2e.Policy {
	n := func(rel string) int64 { return number(s.named(k, e2eObject+rel)) }
	minimum, multiplier := time.Duration(n("SessionRetryMinimumWaitInterval"))*time.Second, float64(n("SessionRetryIntervalMultiplier"))/1000
	return e2e.Policy{
		Mode:        e2e.Use(s.named(k, e2eObject+"SessionMode")),
		Security:    e2e.Use(s.named(k, e2eSecurity)),
		TLS:         s.named(k, e2eObject+"PayloadSecurity") == payloadTLS,
		MaxRecord:   int(min(n("MaxUSPRecordSize"), math.MaxInt32)),
		Retransmits: int(n("MaxRetransmitTries")),
		Expiration:  time.Duration(n("SessionExpiration")) * time.Second,
		Wait:        func(tries int) time.Duration { return backoff(minimum, multiplier, tries) }, // R-E2E.10, R-E2E.11
	}
}

// resetSession is Device.LocalAgent.Controller.{i}.E2ESession.Reset(): once it is
// answered, another session is begun.
func resetSession(o *operation, call Call) (map[string]string, error) {
	c := o.tx.next.index(o.host.spec).byInstance[call.Command.Inst.At(0)]
	if c == nil || !c.enabled {
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the controller is not enabled")
	}
	if c.sessions.Mode == e2e.Forbid {
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "SessionMode is Forbid")
	}
	o.s.after = append(o.s.after, func() { o.host.resetSession(o.agent, c) })
	return nil, nil
}
