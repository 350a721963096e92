package translate

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// present leaves out names in rows that have gone, for CPE that crash when they
// are asked for what they do not have: by their profile, or because they did. It
// looks, too, when a session was lost over names just now; if it then finds rows
// gone, that is taken as the reason and remembered.
func (b *Bridge) present(ctx context.Context, cpe acs.Caller, dev *device, names []cwmp.Path) (there, gone []cwmp.Path, err error) {
	rec := dev.state.Load().rec
	always := rec.CheckRows || b.profile(rec).CheckRows
	check := names
	if !always {
		if len(rec.Suspects) == 0 {
			return names, nil, nil
		}
		check = without(names, without(names, rec.Suspects))
	}
	if gone, err = inGoneRows(ctx, cpe, check); err != nil || len(gone) == 0 {
		return names, nil, err
	}
	if !always {
		b.note(dev, func(l *Learnt) { l.CheckRows, l.Suspects, l.Doubt = true, nil, 0 })
		b.log.Info("the CPE breaks its session on the names of rows that have gone; rows are looked for first from now on", "device", dev.key)
	}
	return without(names, gone), gone, nil
}

// inGoneRows returns the names that lie in rows which their tables do not list.
func inGoneRows(ctx context.Context, cpe acs.Caller, names []cwmp.Path) (gone []cwmp.Path, err error) {
	tables := make(map[cwmp.Path]map[uint32]bool)
	for _, name := range names {
		table, row, ok := innermostRow(name)
		if !ok {
			continue
		}
		rows, asked := tables[table]
		if !asked {
			if rows, err = listRows(ctx, cpe, table); err != nil {
				return nil, err
			}
			tables[table] = rows
		}
		if rows != nil && !rows[row] {
			gone = append(gone, name)
		}
	}
	return gone, nil
}

// listRows returns the rows that a table has now; nil if the CPE does not tell.
func listRows(ctx context.Context, cpe acs.Caller, table cwmp.Path) (map[uint32]bool, error) {
	names, err := parameterNames(ctx, cpe, table, true)
	switch {
	case errors.Is(err, cwmp.FaultInvalidParameterName):
		return map[uint32]bool{}, nil // the table itself is in a row that has gone
	case isFault(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	rows := make(map[uint32]bool, len(names))
	for _, n := range names {
		if row, ok := rowNumber(table, n.Name); ok {
			rows[row] = true
		}
	}
	return rows, nil
}

// innermostRow returns the last row that a parameter lies in: its table and its
// number there.
func innermostRow(name cwmp.Path) (table cwmp.Path, row uint32, ok bool) {
	for rest := string(name); ; {
		end := strings.LastIndexByte(rest, '.')
		if end < 0 {
			return "", 0, false
		}
		rest = rest[:end]
		start := strings.LastIndexByte(rest, '.') + 1
		if n, err := strconv.ParseUint(rest[start:], 10, 32); err == nil && n > 0 && start > 0 {
			return cwmp.Path(rest[:start]), uint32(n), true
		}
	}
}
