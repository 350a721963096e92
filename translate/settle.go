package translate

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// What to do about RPCs that must not be done twice when the answer was lost,
// because the session broke or the bridge died: look at the CPE. Transfers are
// settled in carry.go, reboots in reboot.go; here are rows.

// statusFault returns the fault that hides in an answer: some CPE report one as
// the Status of a success.
func statusFault(answer cwmp.Message) error {
	status := 0
	switch m := answer.(type) {
	case *cwmp.AddObjectResponse:
		status = m.Status
	case *cwmp.DeleteObjectResponse:
		status = m.Status
	case *cwmp.SetParameterValuesResponse:
		status = m.Status
	case *cwmp.DownloadResponse:
		status = m.Status
	case *cwmp.UploadResponse:
		status = m.Status
	}
	if status >= int(cwmp.FaultMethodNotSupported) && status <= 9999 {
		return cwmp.NewFault(cwmp.FaultCode(status))
	}
	return nil
}

// addObject sends AddObject; that it does is durable before. After a broken
// session it first looks whether the CPE has acted on the earlier one.
func (b *Bridge) addObject(ctx context.Context, cpe acs.Caller, dev *device, w *creation) error {
	if w.add != "" && w.number == 0 {
		found, err := newRow(ctx, cpe, w)
		if err != nil && !isFault(err) {
			return err
		}
		b.foundRow(dev, w, found)
	}
	if w.number != 0 {
		return nil
	}
	if w.add == "" {
		before, err := b.rowsNow(ctx, cpe, dev, w.plan.AddObject)
		if err != nil {
			return err
		}
		if err := b.beginAdd(ctx, dev, w, before); err != nil {
			return err
		}
	}
	w.lost = true
	answer, err := cpe.Call(ctx, &cwmp.AddObject{Object: w.plan.AddObject})
	w.lost = err != nil && !isFault(err)
	if err == nil {
		err = statusFault(answer)
	}
	if isFault(err) {
		e := uspError(err, w.row.Table.Path())
		if e.Code != usp.ErrResourcesExceeded {
			e.Code = usp.ErrObjectNotCreated
		}
		w.result.Err = e
		return nil
	} else if err != nil {
		return err
	}
	got, ok := answer.(*cwmp.AddObjectResponse)
	if ok && got.InstanceNumber == 0 {
		// It says that it has made a row, but not which.
		found, err := newRow(ctx, cpe, w)
		if err != nil && !isFault(err) {
			return err
		}
		got = &cwmp.AddObjectResponse{InstanceNumber: found}
	}
	if !ok || got.InstanceNumber == 0 {
		w.result.Err = usp.Errorf(usp.ErrObjectNotCreated, w.row.Table.Path(), "the CPE answered AddObject of %s without an instance number, and has no new row", w.plan.AddObject)
		return nil
	}
	b.foundRow(dev, w, got.InstanceNumber)
	return nil
}

// beginAdd makes an AddObject that is about to be sent durable: should the
// bridge die, the next session takes the row away that nobody was told of.
func (b *Bridge) beginAdd(ctx context.Context, dev *device, w *creation, before map[uint32]bool) error {
	add := PendingAdd{ID: rand.Text(), Table: w.plan.AddObject, Row: w.row.Table.Node.Path}
	for _, a := range w.row.Params {
		if a.Param.Name == "Alias" {
			add.Alias = a.Value
		}
	}
	for row := range before {
		add.Before = append(add.Before, row)
	}
	slices.Sort(add.Before)
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	rec.Adds = append(slices.Clip(rec.Adds), add)
	if dev.adds == nil {
		dev.adds = map[string]bool{}
	}
	dev.adds[add.ID] = true
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	w.before, w.add = before, add.ID
	return durable(ctx)
}

// makes reports whether a row of the CPE is the one that the Add is making, as far
// as it is known: one that was not there before.
func (a *PendingAdd) makes(object cwmp.Path) bool {
	row, ok := rowNumber(a.Table, object)
	if !ok || object != a.Table+cwmp.Path(strconv.FormatUint(uint64(row), 10))+"." {
		return false
	}
	if a.Number != 0 {
		return row == a.Number
	}
	return !slices.Contains(a.Before, row)
}

// named gives the rows of Adds that are under way, which s has new, the aliases
// that their controllers have given: an alias is settled when the row is first
// seen. Where several rows may be the one, none is given it.
func (b *Bridge) named(s *snapshot, created []dm.Ref) *mapping.Numbers {
	numbers, view := s.numbers, s.See(b.now)
	for _, add := range s.rec.Adds {
		if add.Alias == "" {
			continue
		}
		var rows []dm.Ref
		for _, ref := range created {
			if object, _, ok := view.RowSource(ref); ok && ref.Node.Path == add.Row && add.makes(object) {
				rows = append(rows, ref)
			}
		}
		if len(rows) != 1 {
			continue
		}
		alias := dm.Ref{Node: rows[0].Node.Child("Alias"), Inst: rows[0].Inst}
		if alias.Node != nil && view.GivesAlias(alias) && view.CheckAlias(rows[0], add.Alias) == nil {
			numbers = numbers.WithAlias(rows[0], add.Alias)
		}
	}
	return numbers
}

// foundRow notes the number of the new row, 0 for none. It is not waited for:
// without it the row is looked for.
func (b *Bridge) foundRow(dev *device, w *creation, number uint32) {
	if w.number = number; number == 0 {
		return
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	rec := dev.state.Load().rec.clone()
	i := slices.IndexFunc(rec.Adds, func(a PendingAdd) bool { return a.ID == w.add })
	if i < 0 {
		return
	}
	rec.Adds = slices.Clone(rec.Adds)
	rec.Adds[i].Number = number
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	b.keep(dev, &batch)
}

// endAdds ends what an Add has begun. What its broken session or its time has
// left on the CPE is taken away in the next session. Rows that were created are
// safe from that when it returns nil.
func (b *Bridge) endAdds(ctx context.Context, dev *device, work []*creation) error {
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	for _, w := range work {
		if w.add == "" {
			continue
		}
		delete(dev.adds, w.add)
		switch {
		case w.result.Err == nil, w.number == 0 && !w.lost:
			rec.Adds = withoutAdd(rec.Adds, w.add)
		case w.number != 0:
			rec.Orphans = append(slices.Clip(rec.Orphans), w.object())
			rec.Adds = withoutAdd(rec.Adds, w.add)
		}
	}
	if old := dev.state.Load().rec; len(rec.Orphans) == len(old.Orphans) && len(rec.Adds) == len(old.Adds) {
		dev.mu.Unlock()
		return nil
	}
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	return durable(context.WithoutCancel(ctx))
}

func withoutAdd(adds []PendingAdd, id string) []PendingAdd {
	return slices.DeleteFunc(slices.Clone(adds), func(a PendingAdd) bool { return a.ID == id })
}

// sweep deletes what Adds have left on the CPE that failed, or that the bridge
// did not live to end.
func (b *Bridge) sweep(ctx context.Context, cpe acs.Caller, dev *device) error {
	orphans := dev.state.Load().rec.Orphans
	left := dev.leftAdds()
	if len(orphans) == 0 && len(left) == 0 {
		return nil
	}
	objects := slices.Clone(orphans)
	for _, add := range left {
		object, err := b.leftRow(ctx, cpe, dev, add)
		if err != nil {
			return err
		}
		if object != "" {
			objects = append(objects, object)
		}
	}
	for _, object := range objects {
		if err := deleteObject(ctx, cpe, object); err != nil && !isFault(err) {
			return err
		} else if err != nil {
			b.log.Warn("an object that a failed Add has left cannot be deleted", "device", dev.key, "object", object, "error", err)
		}
	}
	if dev.state.Load().tree != nil && len(objects) > 0 {
		if err := b.forgetRows(ctx, dev, objects); err != nil {
			return err
		}
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	rec := dev.state.Load().rec.clone()
	rec.Orphans = without(rec.Orphans, orphans)
	for _, add := range left {
		rec.Adds = withoutAdd(rec.Adds, add.ID)
	}
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	b.keep(dev, &batch)
	return nil
}

// leftAdds returns the AddObjects that nobody is at work on.
func (dev *device) leftAdds() (left []PendingAdd) {
	if len(dev.state.Load().rec.Adds) == 0 {
		return nil
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	for _, add := range dev.state.Load().rec.Adds {
		if !dev.adds[add.ID] {
			left = append(left, add)
		}
	}
	return left
}

// leftRow returns the row that an AddObject has made whose answer nobody got, ""
// if there is none: a row that was not there before and that no controller has
// been shown. Where there are several, somebody else adds rows too, and it is
// better to leave one too many than to delete another's.
func (b *Bridge) leftRow(ctx context.Context, cpe acs.Caller, dev *device, add PendingAdd) (cwmp.Path, error) {
	if add.Number != 0 {
		return add.Table + cwmp.Path(strconv.FormatUint(uint64(add.Number), 10)) + ".", nil
	}
	names, err := parameterNames(ctx, cpe, add.Table, true)
	if isFault(err) {
		return "", nil // the table has no rows
	} else if err != nil {
		return "", err
	}
	known := make(map[uint32]bool)
	if t := dev.state.Load().tree; t != nil {
		known = knownRows(t, add.Table)
	}
	rows := map[uint32]bool{}
	for _, n := range names {
		if row, ok := rowNumber(add.Table, n.Name); ok && !known[row] && !slices.Contains(add.Before, row) {
			rows[row] = true
		}
	}
	if len(rows) > 1 {
		b.log.Warn("an Add was cut off, and more than one row has come since: none is deleted", "device", dev.key, "table", add.Table, "rows", len(rows))
		return "", nil
	}
	for row := range rows {
		return add.Table + cwmp.Path(strconv.FormatUint(uint64(row), 10)) + ".", nil
	}
	return "", nil
}

// gone reports whether an object is not on the CPE any more.
func gone(ctx context.Context, cpe acs.Caller, object cwmp.Path) (bool, error) {
	names, err := parameterNames(ctx, cpe, object, true)
	var fault *cwmp.Fault
	if errors.As(err, &fault) {
		return fault.Code == cwmp.FaultInvalidParameterName, nil
	}
	return len(names) == 0, err
}

// newRow looks for a row that was not there before.
func newRow(ctx context.Context, cpe acs.Caller, w *creation) (uint32, error) {
	names, err := parameterNames(ctx, cpe, w.plan.AddObject, true)
	if err != nil {
		return 0, err
	}
	for _, n := range names {
		if row, ok := rowNumber(w.plan.AddObject, n.Name); ok && !w.before[row] {
			return row, nil
		}
	}
	return 0, nil
}

// rowNumber returns the instance number of the row of table that a name lies in.
func rowNumber(table, name cwmp.Path) (uint32, bool) {
	rest, ok := strings.CutPrefix(string(name), string(table))
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n > 0
}

// rowsNow asks the CPE which rows a table has, so that a row that another has
// made is not taken for ours after a broken session. A CPE that does not list an
// empty table is believed to have the rows that are known.
func (b *Bridge) rowsNow(ctx context.Context, cpe acs.Caller, dev *device, table cwmp.Path) (map[uint32]bool, error) {
	names, err := parameterNames(ctx, cpe, table, true)
	if isFault(err) {
		return knownRows(dev.state.Load().tree, table), nil
	} else if err != nil {
		return nil, err
	}
	rows := make(map[uint32]bool)
	for _, n := range names {
		if row, ok := rowNumber(table, n.Name); ok {
			rows[row] = true
		}
	}
	return rows, nil
}

func knownRows(t *tree.Tree, table cwmp.Path) map[uint32]bool {
	rows := make(map[uint32]bool)
	schema, parent, ok := tree.Split(table + "1.")
	if !ok {
		return rows
	}
	if id, ok := t.Template().LookupTable(schema); ok {
		for _, n := range t.Rows(id, parent.Prefix(parent.Len()-1)) {
			rows[n] = true
		}
	}
	return rows
}
