package mapping

import (
	"maps"
	"slices"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// CheckArguments checks the arguments of a command: it fails with 7027 and the name
// of one that is not of its type or not one of its values, or that no CPE can be told.
// What the standard does not know is passed over (TR-369 R-OPR.6).
func (p *Program) CheckArguments(node *dm.Node, args map[string]string) error {
	bind := p.binding(node)
	ours := bind != nil && bind.std == nil
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if ours {
			if err := sendable(args[name]); err != nil {
				return usp.Errorf(usp.ErrInvalidCommandArguments, "", "%s: %w", name, err)
			}
		} else if std := p.input(node, name); std != nil {
			if err := std.checkArgument(name, args[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkArgument checks an argument.
func (e *element) checkArgument(name, text string) *usp.Error {
	if err := checkValue(name, text, &binding{node: &dm.Node{Type: e.typ}, std: e}); err != nil {
		return usp.Errorf(usp.ErrInvalidCommandArguments, "", "%s: %s", name, err.Msg)
	}
	return nil
}

// input returns the standard's element of an argument, nil if it knows none. Its
// name can have the numbers of rows in it.
func (p *Program) input(node *dm.Node, name string) *element {
	bind := p.binding(node)
	if bind == nil || bind.std == nil {
		return nil
	}
	schema, _, ok := tree.Split(cwmp.Path(name))
	if !ok {
		return nil
	}
	return bind.std.input(schema)
}

// Unserved fails with 7027 if an argument asks for what CWMP has no word for:
// one that is not served, and has another value than what happens without it.
func (p *Program) Unserved(node *dm.Node, args map[string]string, served ...string) error {
	for _, name := range slices.Sorted(maps.Keys(args)) {
		std := p.input(node, name)
		if std == nil || slices.Contains(served, name) || !std.asks(args[name]) {
			continue
		}
		return usp.Errorf(usp.ErrInvalidCommandArguments, "", "%s: CPE cannot be told it by CWMP", name)
	}
	return nil
}

// asks reports whether an argument asks for anything else than what happens
// without it.
func (e *element) asks(text string) bool {
	off := e.typ == dm.TypeBoolean && !isTrue(text) && e.def != "true"
	return text != "" && text != e.def && text != "Any" && !off
}
