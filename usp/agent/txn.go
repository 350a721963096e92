package agent

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// txn is a set of changes to one agent's own objects. It works on a copy; its
// owner holds the agent's write lock until the copy has been stored and has
// become the agent's state, or has been thrown away.
type txn struct {
	host *Host
	a    *agent
	base *state
	next *state
	by   *controller // who asks; nil for the agent itself
	via  any         // the connection of the built-in controller
	// schema is the whole data model, nil for the agent's own changes.
	schema *dm.Schema
	// onboard has the controllers to which SendOnBoardRequest() was run.
	onboard map[uint32]bool
	also    []store.Op // changes of records that are no rows
}

// begin starts a txn. The caller holds a.write.
func (h *Host) begin(a *agent, by *controller, via any) *txn {
	s := a.state.Load()
	return &txn{host: h, a: a, base: s, next: s, by: by, via: via}
}

// rowChange is the change of one row, as object declarations see it when they
// check it.
type rowChange struct {
	tx    *txn
	key   rowKey
	old   *row // nil when the row is being added
	row   *row
	given map[*param]bool // set by the controller, not by the agent
}

func (c *rowChange) get(rel string) string { return c.row.values[c.key.class.byName[rel].index] }

func (c *rowChange) set(rel, value string) { c.row.values[c.key.class.byName[rel].index] = value }

// attempt runs change on a copy of the state, which replaces the present one
// only if change succeeds.
func (tx *txn) attempt(change func(next *state) *usp.Error) *usp.Error {
	saved := tx.next
	tx.next = saved.edit()
	if err := change(tx.next); err != nil {
		tx.next = saved
		return err
	}
	return nil
}

// set writes parameters of one object or row, in the way of Model.Set.
func (tx *txn) set(u Update) UpdateResult {
	res := UpdateResult{Values: make([]string, len(u.Params))}
	res.Err = tx.attempt(func(next *state) *usp.Error {
		p0 := tx.host.spec.params[u.Params[0].Param.ID]
		k := rowKey{p0.class, u.Object.Inst}
		old := next.rows[k]
		if old == nil {
			return usp.Errorf(usp.ErrObjectDoesNotExist, u.Object.Path(), "the row is not there")
		}
		c := &rowChange{tx: tx, key: k, old: old, row: &row{values: append([]string(nil), old.values...), via: old.via}, given: map[*param]bool{}}
		if err := tx.assign(c, u.Params, res.Values, &res.Failed); err != nil {
			return err
		}
		if err := tx.agree(c, u.Params, res.Values, &res.Failed); err != nil {
			return err
		}
		return tx.seal(next, c)
	})
	if res.Err != nil {
		res.Failed = nil
	}
	return res
}

// add creates a row, in the way of Model.Add.
func (tx *txn) add(n NewRow) AddResult {
	var res AddResult
	res.Err = tx.attempt(func(next *state) *usp.Error {
		class := tx.host.spec.tables[n.Table.Node]
		if have := next.count(class, n.Table.Inst); have >= tx.host.cfg.Limits.Rows {
			return usp.Errorf(usp.ErrResourcesExceeded, n.Table.Path(), "the table has %d rows, the most an agent keeps", have)
		}
		inst := n.Table.Inst.Append(next.numberFor(class, n.Table.Inst))
		c := &rowChange{tx: tx, key: rowKey{class, inst}, row: class.fresh(), given: map[*param]bool{}}
		values := make([]string, len(n.Params))
		if err := tx.assign(c, n.Params, values, &res.Failed); err != nil {
			return err
		}
		if err := tx.agree(c, n.Params, values, &res.Failed); err != nil {
			return err
		}
		if err := tx.complete(next, c); err != nil {
			return err
		}
		res.Row = dm.Ref{Node: n.Table.Node, Inst: inst}
		return tx.seal(next, c)
	})
	if res.Err != nil {
		res.Failed = nil
	}
	return res
}

// fresh returns a row of defaults.
func (c *class) fresh() *row {
	r := &row{values: make([]string, len(c.params))}
	for i, p := range c.params {
		r.values[i] = p.def
	}
	return r
}

// assign puts checked values into a row. A value that is refused fails the row
// if it is required, or part of a unique key in Add (TR-369 R-ADD.3, R-SET.2).
func (tx *txn) assign(c *rowChange, params []Assignment, values []string, failed *map[int]*usp.Error) *usp.Error {
	for i, as := range params {
		p := tx.host.spec.params[as.Param.ID]
		v, err := p.accept(as.Value, tx.host.cfg.Limits.Value)
		if err == nil && p.target != nil {
			v, err = p.strong(tx.next, v)
		}
		if err == nil && c.old != nil && p.fixedKey && v != c.row.values[p.index] {
			// TR-369 R-KEY.1
			err = usp.Errorf(usp.ErrReadOnly, "", "%s is part of a unique key that cannot change after creation", p.rel)
		}
		if err == nil {
			c.row.values[p.index], values[i] = v, v
			c.given[p] = true
			continue
		}
		if err := c.refuse(p, as.Required, i, err, failed); err != nil {
			return err
		}
	}
	return nil
}

// agree takes back what contradicts other values of the row, under the rules of
// assign.
func (tx *txn) agree(c *rowChange, params []Assignment, values []string, failed *map[int]*usp.Error) *usp.Error {
	if c.key.class.conflict == nil {
		return nil
	}
	for {
		rel, err := c.key.class.conflict(c)
		if err == nil {
			return nil
		}
		p := c.key.class.byName[rel]
		for i, as := range params {
			if tx.host.spec.params[as.Param.ID] != p || (*failed)[i] != nil {
				continue
			}
			if err := c.refuse(p, as.Required, i, err, failed); err != nil {
				return err
			}
			values[i] = ""
		}
		delete(c.given, p)
		if c.row.values[p.index] = p.def; c.old != nil {
			c.row.values[p.index] = c.old.values[p.index]
		}
	}
}

// refuse fails one of the values that were given; the error returned fails the
// row.
func (c *rowChange) refuse(p *param, required bool, i int, err *usp.Error, failed *map[int]*usp.Error) *usp.Error {
	if required || c.old == nil && p.key() {
		return requiredFailed(p.rel, err)
	}
	if *failed == nil {
		*failed = map[int]*usp.Error{}
	}
	(*failed)[i] = err
	return nil
}

// key reports whether the parameter is part of a unique key.
func (p *param) key() bool {
	for _, sets := range [2][][]*param{p.class.unique, p.class.fixed} {
		for _, set := range sets {
			for _, k := range set {
				if k == p {
					return true
				}
			}
		}
	}
	return false
}

// requiredFailed is the failure of a row because of one of its parameters.
func requiredFailed(rel string, err *usp.Error) *usp.Error {
	e := usp.Errorf(usp.ErrRequiredParameterFailed, "", "parameter %s: %s", rel, err.Msg)
	e.Params = []usp.ParamError{{Param: rel, Code: err.Code, Msg: err.Msg}}
	return e
}

// complete gives a new row what the controller left out: its alias and other
// unique keys (TR-369 R-ADD.5).
func (tx *txn) complete(next *state, c *rowChange) *usp.Error {
	if alias := c.key.class.byName["Alias"]; alias != nil && c.row.values[alias.index] == "" {
		c.row.values[alias.index] = "cpe-" + strconv.FormatUint(uint64(c.key.inst.Last()), 10)
	}
	if c.key.class.added == nil {
		return nil
	}
	if err := c.key.class.added(c); err != nil {
		return usp.AsError(err, "")
	}
	return nil
}

// seal checks a changed row as a whole and puts it into the state.
func (tx *txn) seal(next *state, c *rowChange) *usp.Error {
	if c.key.class.check != nil {
		if err := c.key.class.check(c); err != nil {
			return usp.AsError(err, "")
		}
	}
	for _, sets := range [2][][]*param{c.key.class.unique, c.key.class.fixed} {
		for _, set := range sets {
			if other, ok := next.duplicate(c, set); ok {
				return duplicateKey(c, set, other)
			}
		}
	}
	if c.old == nil || !slices.Equal(c.old.values, c.row.values) {
		next.rows[c.key] = c.row
	}
	return nil
}

// duplicate finds another row of the table with the same values of a key.
func (s *state) duplicate(c *rowChange, set []*param) (rowKey, bool) {
	if !slices.ContainsFunc(set, func(p *param) bool { return p.target == nil || c.row.values[p.index] != "" }) {
		return rowKey{}, false // rows that refer to nothing are not told apart by it
	}
	parent := c.key.inst.Prefix(c.key.inst.Len() - min(1, c.key.inst.Len()))
	for k, r := range s.rows {
		if k.class != c.key.class || k == c.key || k.inst.Prefix(parent.Len()) != parent {
			continue
		}
		same := true
		for _, p := range set {
			same = same && r.values[p.index] == c.row.values[p.index]
		}
		if same {
			return k, true
		}
	}
	return rowKey{}, false
}

func duplicateKey(c *rowChange, set []*param, other rowKey) *usp.Error {
	names := ""
	e := &usp.Error{Code: usp.ErrUniqueKeyConflict}
	for i, p := range set {
		if i > 0 {
			names += ", "
		}
		names += p.rel
	}
	e.Msg = fmt.Sprintf("row %d of the table has the same %s", other.inst.Last(), names)
	for _, p := range set {
		if c.given[p] {
			e.Params = append(e.Params, usp.ParamError{Param: p.rel, Code: usp.ErrUniqueKeyConflict, Msg: e.Msg})
		}
	}
	return e
}

// remove deletes a row and what cannot be without it.
func (tx *txn) remove(ref dm.Ref) *usp.Error {
	return tx.attempt(func(next *state) *usp.Error {
		k := rowKey{tx.host.spec.tables[ref.Node], ref.Inst}
		if next.rows[k] == nil {
			return usp.Errorf(usp.ErrObjectDoesNotExist, ref.Path(), "the row is not there")
		}
		next.remove(k)
		tx.dropReferences(next, k.class)
		if ref.Node.Path == controllerTable {
			tx.orphans(next, ref.Inst.At(0))
		}
		return nil
	})
}

// orphans removes what cannot be without a deleted controller: subscriptions,
// whose Recipient may not be empty (Device.LocalAgent.Subscription.{i}.Recipient),
// and bulk data profiles, which report with their Controller's rights.
func (tx *txn) orphans(next *state, instance uint32) {
	subs := tx.host.classes.subscription
	recipient := controllerPath(instance)
	for k, r := range next.rows {
		if k.class == subs && r.values[subs.byName["Recipient"].index] == recipient {
			next.remove(k)
		}
	}
	profiles := tx.host.spec.classAt(profileTable)
	for k, r := range next.rows {
		if k.class == profiles && r.values[profiles.byName["Controller"].index] == recipient {
			next.remove(k)
		}
	}
}

// write replaces one stored value, for the agent itself.
func (tx *txn) write(k rowKey, rel, value string) {
	_ = tx.attempt(func(next *state) *usp.Error {
		old := next.rows[k]
		if old == nil {
			return usp.Errorf(usp.ErrObjectDoesNotExist, "", "the row is not there")
		}
		r := &row{values: append([]string(nil), old.values...), via: old.via}
		r.values[k.class.byName[rel].index] = value
		next.rows[k] = r
		return nil
	})
}
