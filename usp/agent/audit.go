package agent

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// auditLog is what one message changed: who, what, on which path, with which
// result. It is stored with the change, under the agent's endpoint id.
type auditLog struct {
	by      usp.EndpointID
	what    string
	entries []AuditChange
}

// AuditChange is what became of one object or command.
type AuditChange struct {
	Path   string            `json:"path"`
	Params map[string]string `json:"params,omitempty"`
	Result string            `json:"result"` // "ok", or the error's code and text
}

// AuditRecord is a record of store.Audit as the agent writes it: JSON, owner the
// agent's endpoint id, name the time (Unix nanoseconds, 16 hex digits).
type AuditRecord struct {
	Time       string         `json:"time"` // RFC 3339
	Controller usp.EndpointID `json:"controller"`
	Action     string         `json:"action"` // Set, Add, Delete, Operate, OperationComplete
	Changes    []AuditChange  `json:"changes"`
}

// masked stands for the value of a secured parameter.
const masked = "***"

func (s *session) audit(what string) *auditLog {
	return &auditLog{by: s.by.endpoint, what: what}
}

func (l *auditLog) add(path string, params map[string]string, err *usp.Error) {
	e := AuditChange{Path: path, Params: params, Result: "ok"}
	if err != nil {
		e.Result = fmt.Sprintf("%d: %s", err.Code, err.Msg)
	}
	l.entries = append(l.entries, e)
}

// target adds what became of an object of Set, Add or Delete.
func (l *auditLog) target(t *target) {
	if t.object.Node == nil {
		return
	}
	params := make(map[string]string, len(t.params))
	for _, as := range t.params {
		v := as.Value
		if as.Param.Secured {
			v = masked
		}
		params[t.relative(as.Param)] = shorten(v)
	}
	path := t.object.Path()
	if t.created.Node != nil {
		path = t.created.Path()
	}
	l.add(path, params, t.err)
}

// auditArgs returns the input arguments of a command for the audit trail.
func (s *session) auditArgs(call Call) map[string]string {
	if own := s.host.spec.commands[call.Command.Node]; own != nil {
		return auditArgs(call.Args, own.secret)
	}
	return auditArgs(call.Args, nil)
}

// auditArgs leaves out what opens doors: the arguments that are secret, and those
// of which the name or the text tells it.
func auditArgs(args map[string]string, secret []string) map[string]string {
	if len(args) == 0 {
		return nil
	}
	out := make(map[string]string, len(args))
	for name, v := range args {
		last := name[strings.LastIndexByte(name, '.')+1:]
		if u, err := url.Parse(v); strings.HasSuffix(last, "Password") || strings.HasPrefix(last, "Voucher") || slices.Contains(secret, name) {
			v = masked
		} else if err == nil && u.Host != "" && (u.User != nil || u.RawQuery != "") {
			if u.RawQuery != "" {
				u.RawQuery = "xxxxx" // as URL.Redacted marks a password: signed URLs have their secret there
			}
			v = u.Redacted()
		}
		out[name] = shorten(v)
	}
	return out
}

// Audit keeps what an operator has done to an agent, beside the agent's own trail.
func (h *Host) Audit(ctx context.Context, id usp.EndpointID, action string, change AuditChange) error {
	var b store.Batch
	log := &auditLog{by: h.cfg.BuiltinController, what: action, entries: []AuditChange{change}}
	log.put(h, &b, id)
	return h.cfg.Store.Commit(ctx, &b)
}

// put adds the record to the batch of the change.
func (l *auditLog) put(h *Host, b *store.Batch, id usp.EndpointID) {
	if l == nil || len(l.entries) == 0 {
		return
	}
	now := h.cfg.Now()
	b.Put(store.Key{Kind: store.Audit, Owner: string(id), Name: fmt.Sprintf("%016x%04x", now.UnixNano(), h.sequence.Add(1)&0xffff)},
		encodeJSON(AuditRecord{Time: now.UTC().Format("2006-01-02T15:04:05.000Z"), Controller: l.by, Action: l.what, Changes: l.entries}))
}
