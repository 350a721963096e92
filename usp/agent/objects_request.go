package agent

import (
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// The values of Device.LocalAgent.Request.{i}.Status that a row is seen with;
// when an operation has ended its row is gone (TR-369 R-OPR.0).
const (
	requestActive    = "Active"
	requestCanceling = "Canceling"
)

func requestObjects() []objectDecl {
	return []objectDecl{{
		path: requestTable, kind: store.Request,
		fixed: [][]string{{"Alias"}},
		params: []paramDecl{
			alias(),
			{name: "Originator", typ: dm.TypeString},
			{name: "Command", typ: dm.TypeString},
			{name: "CommandKey", typ: dm.TypeString},
			{name: "Status", typ: dm.TypeString, def: requestActive},
		},
		commands: []commandDecl{{name: "Cancel()", run: cancelRequest}},
	}}
}

// cancelRequest is Device.LocalAgent.Request.{i}.Cancel(): it tells the running
// operation to end, which then completes with 7023. What runs here ends at
// once; a detached operation may refuse, and then goes on as it was.
func cancelRequest(o *operation, call Call) (map[string]string, error) {
	k := rowKey{o.host.classes.request, call.Command.Inst}
	if o.agent.state.Load().rows[k] == nil {
		return nil, usp.Errorf(usp.ErrObjectDoesNotExist, call.Command.Path(), "the request has ended")
	}
	request, model := call.Command.Inst.At(0), o.s.device.model
	switch {
	case o.tx.cancelTimer(request), o.agent.cancel(request):
	case model.Detached(request):
		if err := model.Cancel(o.ctx, request); err != nil {
			return nil, err
		}
	default:
		return nil, usp.Errorf(usp.ErrCommandFailure, call.Command.Path(), "the operation runs on another node or is ending")
	}
	o.tx.write(k, "Status", requestCanceling)
	return nil, nil
}
