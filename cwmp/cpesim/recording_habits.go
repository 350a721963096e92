package cpesim

import (
	"github.com/uspbridge/uspbridge/cwmp"
)

// habits gathers how a captured CPE departs from the standard, for the requests
// that are answered from its tree because they were not captured.
type habits struct {
	status0, status1 int // of changes
	unsupported      map[string]bool
	bareFault        bool // a SetParameterValues was refused without saying for what
	emptyRefused     bool
	mostNames        int // of a GetParameterValues that was answered
	refusedNames     int // the fewest that were too many
}

// see takes a request and its answer in.
func (h *habits) see(asked, answered cwmp.Message) {
	if fault, refused := answered.(*cwmp.Fault); refused {
		h.seeFault(asked, fault)
		return
	}
	switch a := answered.(type) {
	case *cwmp.SetParameterValuesResponse:
		h.seeStatus(a.Status)
	case *cwmp.AddObjectResponse:
		h.seeStatus(a.Status)
	case *cwmp.DeleteObjectResponse:
		h.seeStatus(a.Status)
	case *cwmp.GetParameterValuesResponse:
		if m, ok := asked.(*cwmp.GetParameterValues); ok {
			h.mostNames = max(h.mostNames, len(m.Names))
		}
	}
}

func (h *habits) seeStatus(status int) {
	switch status {
	case 0:
		h.status0++
	case 1:
		h.status1++
	}
}

func (h *habits) seeFault(asked cwmp.Message, fault *cwmp.Fault) {
	if fault.Code == cwmp.FaultMethodNotSupported || fault.Code == cwmp.FaultACSMethodNotSupported {
		if h.unsupported == nil {
			h.unsupported = map[string]bool{}
		}
		h.unsupported[asked.RPC()] = true
		return
	}
	switch m := asked.(type) {
	case *cwmp.SetParameterValues:
		h.bareFault = h.bareFault || fault.Code == cwmp.FaultInvalidArguments && len(fault.Parameters) == 0
	case *cwmp.GetParameterNames:
		h.emptyRefused = h.emptyRefused || m.Path == ""
	case *cwmp.GetParameterValues:
		switch {
		case len(m.Names) == 1:
			h.emptyRefused = h.emptyRefused || m.Names[0] == ""
		case fault.Code == cwmp.FaultResourcesExceeded, fault.Code == cwmp.FaultInternalError:
			if h.refusedNames == 0 || len(m.Names) < h.refusedNames {
				h.refusedNames = len(m.Names)
			}
		}
	}
}

// profile says it in the simulator's terms. What a CPE did both ways it does as
// the standard has it.
func (h *habits) profile(t *seenTree) *Profile {
	p := &Profile{
		Status1Always:    h.status1 > 0 && h.status0 == 0,
		BooleansAsDigits: t.digits > t.words,
		UnnamedFaults:    h.bareFault,
		RefuseEmptyPath:  h.emptyRefused,
		NoAttributes:     h.unsupported["GetParameterAttributes"] || h.unsupported["SetParameterAttributes"],
	}
	if h.refusedNames > h.mostNames && h.mostNames > 0 {
		p.MaxValueNames = h.mostNames
	}
	for rpc := range h.unsupported {
		if p.RefuseWith == nil {
			p.RefuseWith = map[string]cwmp.FaultCode{}
		}
		p.RefuseWith[rpc] = cwmp.FaultMethodNotSupported
	}
	return p
}
