package translate

import (
	"context"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// Operate implements agent.Model.
func (m *model) Operate(ctx context.Context, call agent.Call) (map[string]string, error) {
	name, own := m.state().program.Own(call.Command.Node)
	if !own {
		return nil, usp.Errorf(usp.ErrCommandFailure, call.Command.Path(), "the CPE has no way to run this command")
	}
	run := commands[name]
	if run == nil {
		return nil, usp.Errorf(usp.ErrCommandFailure, call.Command.Path(), "the bridge does not serve this command")
	}
	m, release, err := m.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return run(m.bridge, ctx, m.dev, call)
}
