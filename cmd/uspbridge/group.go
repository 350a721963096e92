package main

import (
	"context"
	"fmt"
	"sync"
)

// group runs parts of the program together: the first that fails asks all to
// end.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	parts  sync.WaitGroup
}

// newGroup returns a group whose parts end with ctx.
func newGroup(ctx context.Context) *group {
	g := new(group)
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

// start runs a part until it returns. What it returns before it was asked to
// end, even nil, is a failure of the program.
func (g *group) start(name string, run func(ctx context.Context) error) {
	g.parts.Add(1)
	go func() {
		defer g.parts.Done()
		err := run(g.ctx)
		if g.ctx.Err() == nil {
			if err == nil {
				err = fmt.Errorf("ended by itself")
			}
			g.cancel(fmt.Errorf("%s: %w", name, err))
		}
	}()
}

// stop asks all parts to end and waits for them.
func (g *group) stop() {
	g.cancel(context.Canceled)
	g.parts.Wait()
}
