package agent

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/trust"
)

// Host is the Book of package trust: what agents' Controller, Certificate and
// ControllerTrust tables say.
var _ trust.Book = (*Host)(nil)

// admittedParam says that the agent has made a row of the Controller table itself,
// for a controller that had proven who it is (TR-369, figure "Determining the
// Role").
const admittedParam = "Admitted"

// maxStrangers bounds the controllers that an agent trusts on first use: anybody
// can come with a certificate of his own.
const maxStrangers = 16

// trusted are an agent's certificates.
type trusted struct {
	authorities  []trust.Authority
	certificates map[uint32][]*x509.Certificate // by instance of the controller whose they are
}

// trusted reads the certificates of a state, once.
func (d *derived) trusted(spec *localSpec, s *state) *trusted {
	d.trusting.Do(func() {
		t := &trusted{certificates: map[uint32][]*x509.Certificate{}}
		credentials, controllers := spec.classAt(credentialTable), spec.classAt(controllerTable)
		for _, n := range d.tables[rowKey{class: credentials}] {
			k := rowKey{credentials, dm.Inst(n)}
			if c := s.certificate(spec, s.named(k, "Credential")); c != nil && s.named(k, "Enable") == "true" {
				t.authorities = append(t.authorities, trust.Authority{Certificate: c, Credential: n, Uses: trust.Uses(s.named(k, "AllowedUses"))})
			}
		}
		for _, n := range d.tables[rowKey{class: controllers}] {
			for _, ref := range splitList(s.named(rowKey{controllers, dm.Inst(n)}, "Credential")) {
				if c := s.certificate(spec, ref); c != nil {
					t.certificates[n] = append(t.certificates[n], c)
				}
			}
		}
		d.trust = t
	})
	return d.trust
}

// certificate returns the certificate that a reference leads to, nil if it is not
// there or not enabled.
func (s *state) certificate(spec *localSpec, ref string) *x509.Certificate {
	class := spec.classAt(certificateTable)
	n, ok := s.refers(class, ref)
	k := rowKey{class, dm.Inst(n)}
	if !ok || s.named(k, "Enable") != "true" {
		return nil
	}
	der, err := base64.StdEncoding.DecodeString(s.named(k, derParam))
	if err != nil {
		return nil // it was checked when it was stored
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	return c
}

// Known implements trust.Book.
func (h *Host) Known(ctx context.Context, id, peer usp.EndpointID) (trust.Known, error) {
	if _, _, err := h.cfg.Devices.Model(ctx, id); err != nil {
		return trust.Known{}, err
	}
	a, err := h.agents.acquire(ctx, id)
	if err != nil {
		return trust.Known{}, err
	}
	defer h.agents.release(a)
	s := a.state.Load()
	d := s.index(h.spec)
	t := d.trusted(h.spec, s)
	known := trust.Known{Authorities: t.authorities, FirstUse: h.cfg.FirstUse}
	if c := d.controllers[peer]; c != nil {
		known.Registered, known.Certificates = true, t.certificates[c.instance]
	}
	return known, nil
}

// Admitted implements trust.Book. The controller has the roles of the authority
// that vouches for it besides its own; one that is not in the table comes into it.
func (h *Host) Admitted(ctx context.Context, id, peer usp.EndpointID, by trust.Admission) error {
	a, err := h.agents.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer h.agents.release(a)
	if s := a.state.Load(); !s.learns(h.spec, peer, by) || h.postponed(ctx, func(ctx context.Context) error { return h.Admitted(ctx, id, peer, by) }) {
		return nil
	}
	return h.locked(ctx, id, func(d *device, tx *txn) error {
		log := &auditLog{by: peer, what: "Admit"}
		if err := tx.admit(peer, by, log); err != nil {
			return fmt.Errorf("controller %s: %w", peer, err)
		}
		h.log.Info("a controller has proven who it is", "agent", id, "controller", peer,
			"credential", by.Credential, "first_use", by.Remember != nil)
		return h.commit(ctx, d, tx, nil, nil, log)
	})
}

// learns reports whether an admission changes anything.
func (s *state) learns(spec *localSpec, peer usp.EndpointID, by trust.Admission) bool {
	c := s.index(spec).controllers[peer]
	if c == nil {
		return by.Credential != 0 || by.Remember != nil
	}
	return s.named(rowKey{spec.classAt(controllerTable), dm.Inst(c.instance)}, validatedBy) != credentialReference(spec, by)
}

// credentialReference is the row of ControllerTrust.Credential that an admission is by,
// "" if it is by none.
func credentialReference(spec *localSpec, by trust.Admission) string {
	if by.Credential == 0 {
		return ""
	}
	return reference(spec.classAt(credentialTable), by.Credential)
}

// admit follows the figure "Determining the Role". The roles inherited before are
// replaced; whoever has none of either kind is untrusted.
func (tx *txn) admit(peer usp.EndpointID, by trust.Admission, log *auditLog) error {
	spec, class := tx.host.spec, tx.host.classes.controller
	k, fresh := rowKey{class: class}, false
	if c := tx.next.index(tx.host.spec).controllers[peer]; c != nil {
		k.inst = dm.Inst(c.instance)
	} else {
		var err error
		if k, err = tx.addAdmitted(peer, by); err != nil {
			return err
		}
		fresh = true
	}
	tx.write(k, validatedBy, credentialReference(spec, by))
	inherited := tx.next.inheritedRoles(spec, k)
	switch {
	case fresh && len(inherited) > 0:
		tx.write(k, "AssignedRole", "")
	case by.Credential != 0 && len(inherited)+len(tx.next.assignedRoles(k)) == 0:
		tx.write(k, "AssignedRole", tx.next.untrusted(spec))
	}
	log.add(dm.Ref{Node: class.node, Inst: k.inst}.Path(), map[string]string{
		"AssignedRole": tx.next.named(k, "AssignedRole"), "InheritedRole": strings.Join(inherited, ","), "Credential": tx.next.named(k, "Credential"),
	}, nil)
	return nil
}

// addAdmitted makes the row of a controller that has come by itself, with the
// certificate that it is to be known by.
func (tx *txn) addAdmitted(peer usp.EndpointID, by trust.Admission) (rowKey, error) {
	class := tx.host.classes.controller
	credential := ""
	if by.Remember != nil {
		if err := tx.roomForStranger(); err != nil {
			return rowKey{}, err
		}
		row, there := tx.certificateRow(by.Remember)
		if !there {
			var err error
			if row, err = tx.keepCertificate(by.Remember, ""); err != nil {
				return rowKey{}, err
			}
		}
		credential = reference(row.class, row.inst.Last())
	}
	n := NewRow{Table: dm.Ref{Node: class.node}}
	for _, p := range [][2]string{{"EndpointID", string(peer)}, {"Enable", "true"}, {"Credential", credential}, {admittedParam, "true"}} {
		n.Params = append(n.Params, Assignment{Param: class.byName[p[0]].node, Value: p[1], Required: true})
	}
	res := tx.add(n)
	if res.Err != nil {
		return rowKey{}, res.Err
	}
	return rowKey{class, res.Row.Inst}, nil
}

func (tx *txn) roomForStranger() error {
	strangers := 0
	for k := range tx.next.rows {
		if k.class == tx.host.classes.controller && tx.next.named(k, admittedParam) == "true" && tx.next.named(k, "Credential") != "" {
			strangers++
		}
	}
	if strangers >= maxStrangers {
		return usp.Errorf(usp.ErrResourcesExceeded, "", "%d controllers were trusted on first use, the most an agent takes: delete those that are not wanted from its Controller table", strangers)
	}
	return nil
}

// Revoked implements trust.Book: a controller whose certificate was revoked has the
// banned role and no other, if there is one (TR-369 "Assigning Controller Roles").
func (h *Host) Revoked(ctx context.Context, id, peer usp.EndpointID) error {
	if h.postponed(ctx, func(ctx context.Context) error { return h.Revoked(ctx, id, peer) }) {
		return nil
	}
	return h.locked(ctx, id, func(d *device, tx *txn) error {
		banned := tx.next.named(rowKey{class: h.spec.root}, trustObject+"BannedRole")
		c := tx.next.index(h.spec).controllers[peer]
		if banned == "" || c == nil {
			return nil
		}
		k := rowKey{h.classes.controller, dm.Inst(c.instance)}
		if tx.next.named(k, "AssignedRole") == banned && tx.next.named(k, validatedBy) == "" {
			return nil
		}
		tx.write(k, "AssignedRole", banned)
		tx.write(k, validatedBy, "")
		log := &auditLog{by: peer, what: "Ban"}
		log.add(dm.Ref{Node: k.class.node, Inst: k.inst}.Path(), map[string]string{"AssignedRole": banned}, nil)
		h.log.Warn("the certificate of a controller was revoked: it is banned", "agent", id, "controller", peer)
		return h.commit(ctx, d, tx, nil, nil, log)
	})
}
