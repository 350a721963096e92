package agent

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// How long a ChallengeID may be answered: what RequestExpiration asks for up to a
// day, without it ten minutes, in which a user finds a label on a box.
const (
	defaultExpiration = 10 * time.Minute
	longestExpiration = 24 * time.Hour
)

// maxAsked bounds the requests for challenges of an agent that wait for their
// response; a controller has one for each challenge.
const maxAsked = 256

func challengeObjects() []objectDecl {
	return []objectDecl{{
		path: challengeTable, access: dm.AddDelete, kind: store.AgentState, fixed: [][]string{{"Alias"}},
		params: []paramDecl{
			alias(),
			text("Description", "", size(0, 256)),
			{name: "Role", access: dm.ReadWrite, typ: dm.TypeString, list: true, refs: roleTable},
			boolean("Enable", "false"),
			text("Type", "Passphrase", oneOf("Passphrase")),
			{name: "Value", access: dm.ReadWrite, typ: dm.TypeBase64, secured: true},
			text("ValueType", "text/plain", oneOf("text/plain", "image/jpeg")),
			{name: "Instruction", access: dm.ReadWrite, typ: dm.TypeBase64},
			text("InstructionType", "text/plain", oneOf("text/plain", "image/jpeg", "text/html")),
			unsigned("Retries", "3", 0, math.MaxUint32),
			{name: "LockoutPeriod", access: dm.ReadWrite, typ: dm.TypeInt, def: "30", check: span(0, math.MaxInt32)},
		},
	}}
}

// trials is what an agent remembers of challenges: what was asked for and how
// often the responses were wrong. It is stored, so that a restart forgives nothing
// (TR-369 R-SEC.16). It is immutable.
type trials struct {
	Asked  map[string]asked    `json:"asked,omitempty"`  // by ChallengeID
	Failed map[uint32]failures `json:"failed,omitempty"` // by instance of the Challenge row
}

// asked is a RequestChallenge() that waits for its ChallengeResponse().
type asked struct {
	Challenge  uint32 `json:"challenge"`
	Controller uint32 `json:"controller"`
	Expires    int64  `json:"expires"` // Unix milliseconds
}

// failures counts the wrong responses to a challenge in a row, of all controllers.
type failures struct {
	Count int64 `json:"count"`
	Until int64 `json:"until,omitempty"` // end of the LockoutPeriod, Unix milliseconds
}

// edit returns a copy without what is over.
func (t *trials) edit(now time.Time) *trials {
	next := &trials{Asked: map[string]asked{}, Failed: map[uint32]failures{}}
	if t == nil {
		return next
	}
	maps.Copy(next.Asked, t.Asked)
	maps.Copy(next.Failed, t.Failed)
	maps.DeleteFunc(next.Asked, func(_ string, a asked) bool { return a.Expires <= now.UnixMilli() })
	maps.DeleteFunc(next.Failed, func(_ uint32, f failures) bool { return f.Until != 0 && f.Until <= now.UnixMilli() })
	return next
}

// keep makes trials the ones of the txn, without those of challenges that are gone.
func (tx *txn) keep(t *trials) {
	class := tx.host.spec.classAt(challengeTable)
	maps.DeleteFunc(t.Failed, func(n uint32, _ failures) bool { return tx.next.rows[rowKey{class, dm.Inst(n)}] == nil })
	tx.next = tx.next.edit()
	tx.next.trials = t
}

// challenged returns who runs a command of challenges: a row of the Controller
// table, since it is for that row's role.
func (o *operation) challenged() (uint32, error) {
	if o.s.by.instance == 0 {
		return 0, usp.Errorf(usp.ErrRequestDenied, "", "challenges are for the controllers of the Controller table")
	}
	return o.s.by.instance, nil
}

// locked fails while a challenge has been answered wrongly too often.
func (t *trials) locked(challenge uint32) error {
	if f := t.Failed[challenge]; f.Until != 0 {
		return usp.Errorf(usp.ErrRequestDenied, "", "too many wrong responses; try again after %s", time.UnixMilli(f.Until).UTC().Format(time.RFC3339))
	}
	return nil
}

// requestChallenge is Device.LocalAgent.ControllerTrust.RequestChallenge().
func requestChallenge(o *operation, call Call) (map[string]string, error) {
	controller, err := o.challenged()
	if err != nil {
		return nil, err
	}
	k, err := o.challengeAt(call.Args["ChallengeRef"])
	if err != nil {
		return nil, err
	}
	wait, err := expiration(call.Args["RequestExpiration"])
	if err != nil {
		return nil, err
	}
	now := o.host.cfg.Now()
	t := o.tx.next.trials.edit(now)
	if err := t.locked(k.inst.Last()); err != nil {
		return nil, err
	}
	s := o.tx.next
	if s.named(k, "Enable") != "true" || len(o.passphrase(k)) == 0 {
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the challenge is not enabled, or has no value")
	}
	maps.DeleteFunc(t.Asked, func(_ string, a asked) bool { return a.Controller == controller && a.Challenge == k.inst.Last() })
	if len(t.Asked) >= maxAsked {
		return nil, usp.Errorf(usp.ErrResourcesExceeded, "", "%d challenges wait for their response, the most an agent keeps", len(t.Asked))
	}
	id := rand.Text()
	t.Asked[id] = asked{Challenge: k.inst.Last(), Controller: controller, Expires: now.Add(wait).UnixMilli()}
	o.tx.keep(t)
	return map[string]string{
		"Instruction": s.named(k, "Instruction"), "InstructionType": s.named(k, "InstructionType"),
		"ValueType": s.named(k, "ValueType"), "ChallengeID": id,
	}, nil
}

// challengeAt finds the challenge that ChallengeRef names, as the controller sees
// them.
func (o *operation) challengeAt(ref string) (rowKey, error) {
	class := o.host.spec.classAt(challengeTable)
	n, there := o.tx.next.refers(class, ref)
	row := dm.Ref{Node: class.node, Inst: dm.Inst(n)}
	if !there || !o.s.grants.can(row, readInst) {
		return rowKey{}, usp.Errorf(usp.ErrInvalidCommandArguments, "", "ChallengeRef %q is no row of %s", shorten(ref), strings.TrimSuffix(class.path, "{i}."))
	}
	return rowKey{class, row.Inst}, nil
}

func expiration(seconds string) (time.Duration, error) {
	if seconds == "" {
		return defaultExpiration, nil
	}
	n, err := strconv.ParseUint(seconds, 10, 31)
	if err != nil {
		return 0, usp.Errorf(usp.ErrInvalidCommandArguments, "", "RequestExpiration %q is no number of seconds", shorten(seconds))
	}
	if n == 0 {
		return defaultExpiration, nil
	}
	return min(time.Duration(n)*time.Second, longestExpiration), nil
}

// challengeResponse is Device.LocalAgent.ControllerTrust.ChallengeResponse(). The
// right value gives the controller the challenge's roles; a wrong one is counted,
// and the count is stored with the failure.
func challengeResponse(o *operation, call Call) (map[string]string, error) {
	controller, err := o.challenged()
	if err != nil {
		return nil, err
	}
	given, err := base64.StdEncoding.DecodeString(call.Args["Value"])
	if err != nil {
		return nil, usp.Errorf(usp.ErrInvalidCommandArguments, "", "Value is not base64")
	}
	now := o.host.cfg.Now()
	t := o.tx.next.trials.edit(now)
	a, there := t.Asked[call.Args["ChallengeID"]]
	k := rowKey{o.host.spec.classAt(challengeTable), dm.Inst(a.Challenge)}
	if !there || a.Controller != controller || o.tx.next.rows[k] == nil || o.tx.next.named(k, "Enable") != "true" {
		return nil, usp.Errorf(usp.ErrInvalidArguments, "", "the ChallengeID is not known or has expired; request the challenge again")
	}
	if err := t.locked(a.Challenge); err != nil {
		return nil, err
	}
	if !same(given, o.passphrase(k)) {
		t.fail(a.Challenge, number(o.tx.next.named(k, "Retries")), number(o.tx.next.named(k, "LockoutPeriod")), now)
		o.tx.keep(t)
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the response is wrong")
	}
	delete(t.Asked, call.Args["ChallengeID"])
	delete(t.Failed, a.Challenge)
	o.tx.keep(t)
	o.tx.promote(controller, splitList(o.tx.next.named(k, "Role")))
	return nil, nil
}

// passphrase returns what the response to a challenge has to be, nil if nothing
// is right.
func (o *operation) passphrase(k rowKey) []byte {
	value, err := base64.StdEncoding.DecodeString(o.tx.next.named(k, "Value"))
	if err != nil {
		return nil
	}
	if len(value) == 0 {
		return o.host.derivedPassphrase(k.inst.Last(), o.agent.id)
	}
	return value
}

// same compares in a time that tells nothing of the right value, not even how
// long it is. Nothing is the same as no value.
func same(given, right []byte) bool {
	a, b := sha256.Sum256(given), sha256.Sum256(right)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && len(right) > 0
}

// fail counts a wrong response. When there have been as many as are allowed the
// challenge is locked; with a LockoutPeriod of 0 it has to be requested again.
func (t *trials) fail(challenge uint32, retries, lockout int64, now time.Time) {
	f := t.Failed[challenge]
	if f.Count++; f.Count < max(1, retries) {
		t.Failed[challenge] = f
		return
	}
	if lockout > 0 {
		f.Until = now.Add(time.Duration(lockout) * time.Second).UnixMilli()
		t.Failed[challenge] = f
		return
	}
	delete(t.Failed, challenge)
	maps.DeleteFunc(t.Asked, func(_ string, a asked) bool { return a.Challenge == challenge })
}

// promote gives a controller further roles, in the place of the untrusted one
// (TR-369 "Challenges").
func (tx *txn) promote(controller uint32, roles []string) {
	k := rowKey{tx.host.classes.controller, dm.Inst(controller)}
	untrusted := tx.next.untrusted(tx.host.spec)
	assigned := slices.DeleteFunc(splitList(tx.next.named(k, "AssignedRole")), func(ref string) bool {
		return len(roles) > 0 && ref == untrusted
	})
	for _, ref := range roles {
		if !slices.Contains(assigned, ref) {
			assigned = append(assigned, ref)
		}
	}
	tx.write(k, "AssignedRole", strings.Join(assigned, ","))
}
