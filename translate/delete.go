package translate

import (
	"context"
	"errors"
	"fmt"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Delete implements agent.Model. What cannot be deleted at all is found before
// the CPE is asked for anything.
func (m *model) Delete(ctx context.Context, rows []dm.Ref, allowPartial bool) []error {
	errs := make([]error, len(rows))
	m, release, err := m.hold(ctx)
	if err != nil {
		for i := range errs {
			errs[i] = usp.AsError(err, rows[i].Path())
		}
		return errs
	}
	defer release()
	objects := make([]cwmp.Path, len(rows))
	view := m.state().See(m.bridge.now)
	for i, row := range rows {
		object, deletable, ok := view.RowSource(row)
		switch {
		case !ok:
			errs[i] = usp.Errorf(usp.ErrObjectDoesNotExist, row.Path(), "there is no such row")
		case !deletable:
			errs[i] = usp.Errorf(usp.ErrDeleteFailure, row.Path(), "the CPE does not let %s be deleted", object)
		}
		objects[i] = object
	}
	if firstError(errs) != nil && !allowPartial {
		return errs
	}
	d := &deletion{rows: rows, objects: objects, errs: errs, allowPartial: allowPartial, gone: make([]bool, len(rows)), asked: map[cwmp.Path]bool{}}
	job := func(ctx context.Context, s *acs.Session) error { return m.bridge.deleteRows(ctx, s, m.dev, d) }
	if err = m.bridge.run(ctx, m.dev, job); errors.Is(err, acs.ErrSessionLost) {
		err = m.bridge.run(ctx, m.dev, job)
	}
	for i := range rows {
		if err != nil && errs[i] == nil && !d.gone[i] {
			errs[i] = uspError(err, rows[i].Path())
		}
	}
	return errs
}

func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// deletion is rows on their way out. It outlives a broken session, so that a
// second try looks for what the first has done.
type deletion struct {
	rows         []dm.Ref
	objects      []cwmp.Path // on the CPE, index as rows
	errs         []error
	allowPartial bool
	gone         []bool
	asked        map[cwmp.Path]bool // DeleteObject was sent
}

// deleteRows deletes objects on the CPE and from the tree.
func (b *Bridge) deleteRows(ctx context.Context, cpe acs.Caller, dev *device, d *deletion) error {
	done := make(map[cwmp.Path]bool, len(d.objects)) // several USP rows can be one CPE object
	for i, object := range d.objects {
		if d.errs[i] != nil || d.gone[i] {
			continue
		}
		if !done[object] {
			err := b.deleteOnce(ctx, cpe, d, object)
			if isFault(err) {
				d.errs[i] = &usp.Error{Code: usp.ErrDeleteFailure, Path: d.rows[i].Path(), Msg: "the CPE refused: " + err.Error(), Cause: err}
				if !d.allowPartial {
					return nil
				}
				continue
			} else if err != nil {
				return err
			}
			if err := b.forgetRows(ctx, dev, []cwmp.Path{object}); err != nil {
				return err
			}
		}
		done[object], d.gone[i] = true, true
	}
	return nil
}

// deleteOnce deletes an object that a broken session has not deleted already:
// by then its number may be another row's.
func (b *Bridge) deleteOnce(ctx context.Context, cpe acs.Caller, d *deletion, object cwmp.Path) error {
	if d.asked[object] {
		if is, err := gone(ctx, cpe, object); is || err != nil {
			return err
		}
	}
	d.asked[object] = true
	return deleteObject(ctx, cpe, object)
}

// deleteObject deletes an object on the CPE; one that is not there is deleted.
func deleteObject(ctx context.Context, cpe acs.Caller, object cwmp.Path) error {
	answer, err := cpe.Call(ctx, &cwmp.DeleteObject{Object: object})
	if err == nil {
		err = statusFault(answer)
	}
	var fault *cwmp.Fault
	if errors.As(err, &fault) && fault.Code == cwmp.FaultInvalidParameterName {
		return nil
	} else if err != nil {
		return err
	}
	if _, ok := answer.(*cwmp.DeleteObjectResponse); !ok {
		return fmt.Errorf("the CPE answered DeleteObject with %s", answer.RPC())
	}
	return nil
}

// forgetRows takes CPE objects out of the tree, durably, and tells controllers of
// the rows that go with them.
func (b *Bridge) forgetRows(ctx context.Context, dev *device, objects []cwmp.Path) error {
	return b.establish(ctx, dev, func(old *snapshot) (change, func(old, now *snapshot) []agent.Event) {
		t := old.tree.Clone()
		for _, object := range objects {
			if schema, inst, ok := tree.Split(object); ok {
				if id, ok := t.Template().LookupTable(schema); ok {
					t.RemoveRow(id, inst)
				}
			}
		}
		numbers, _, deleted, _ := old.program.Reconcile(t, old.numbers)
		return change{tree: t, numbers: numbers}, func(old, now *snapshot) []agent.Event { return b.rowEvents(old, now, nil, deleted) }
	})
}
