package agent

import (
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// An Error message blames who is at fault, not who went down with it.
func TestWholeBlamesWhoIsAtFault(t *testing.T) {
	at := func(path string, e *usp.Error) *target {
		return &target{object: dm.Ref{Node: &dm.Node{Path: path, Kind: dm.Object}}, err: e}
	}
	innocent := at("Device.A.", usp.Errorf(usp.ErrObjectNotUpdated, "", "%w: bad", ErrCollateral))
	guilty := at("Device.B.", &usp.Error{Code: usp.ErrRequiredParameterFailed, Params: []usp.ParamError{{Param: "X", Code: usp.ErrInvalidValue}}})
	e := whole([]*target{innocent, guilty})
	if e.Code != usp.ErrRequiredParameterFailed || len(e.Params) != 1 || e.Params[0].Param != "Device.B.X" {
		t.Errorf("got %v with %v", e, e.Params)
	}
	if e = whole([]*target{innocent}); e.Code != usp.ErrObjectNotUpdated {
		t.Errorf("alone: got %v", e)
	}
}
