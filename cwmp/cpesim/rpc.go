package cpesim

import (
	"slices"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// perform carries out one RPC of the ACS and returns the response or the fault.
func (s *session) perform(in *soap.Envelope) cwmp.Message {
	c, request := s.c, in.Body
	rpc := request.RPC()
	c.fleet.stats.rpc(rpc)
	c.mu.Lock()
	defer c.mu.Unlock()
	response, fault := s.respond(in)
	c.record(Entry{Time: c.now(), RPC: rpc, Request: request, Fault: fault})
	if fault != nil {
		c.fleet.stats.faultsSent.Add(1)
		return fault
	}
	return response
}

// respond finds the answer: the recorded one if there is one that still holds, else
// that of the tree. c.mu is held.
func (s *session) respond(in *soap.Envelope) (response cwmp.Message, fault *cwmp.Fault) {
	c := s.c
	then := c.recall(in.Body)
	if then != nil {
		if fault, holds := c.fromRecord(in.Body, then); holds {
			s.written = c.replayed(then, in.ID)
			return then.message, fault
		}
		c.prepare(in.Body, then)
	}
	if code, refused := c.profile.refuses(in.Body.RPC()); refused {
		fault = cwmp.NewFault(code)
	} else {
		response, fault = s.dispatch(in.Body)
	}
	if fault != nil && c.profile.FaultsAsStatus && in.Body.RPC() == "AddObject" {
		response, fault = &cwmp.AddObjectResponse{Status: int(fault.Code)}, nil
	}
	if then != nil && sameAnswer(then, response, fault) {
		s.written = c.replayed(then, in.ID)
	}
	return response, fault
}

// refuses returns the fault with which a profile answers an RPC.
func (p *Profile) refuses(rpc string) (code cwmp.FaultCode, refused bool) {
	if code, refused = p.RefuseWith[rpc]; refused {
		return code, true
	}
	queue := rpc == "GetQueuedTransfers" || rpc == "GetAllQueuedTransfers" || rpc == "CancelTransfer"
	return cwmp.FaultMethodNotSupported, queue && p.NoTransferQueue
}

// dispatch calls the handler of an RPC. c.mu is held.
func (s *session) dispatch(request cwmp.Message) (cwmp.Message, *cwmp.Fault) {
	c := s.c
	switch m := request.(type) {
	case *cwmp.GetRPCMethods:
		return &cwmp.GetRPCMethodsResponse{Methods: c.methods()}, nil
	case *cwmp.GetParameterNames:
		return c.getParameterNames(m)
	case *cwmp.GetParameterValues:
		return c.getParameterValues(m)
	case *cwmp.SetParameterValues:
		return c.setParameterValues(m)
	case *cwmp.GetParameterAttributes:
		return c.getParameterAttributes(m)
	case *cwmp.SetParameterAttributes:
		return c.setParameterAttributes(m)
	case *cwmp.AddObject:
		return c.addObject(m)
	case *cwmp.DeleteObject:
		return c.deleteObject(m)
	case *cwmp.Reboot:
		s.reboot = m
		return &cwmp.RebootResponse{}, nil
	case *cwmp.FactoryReset:
		s.factoryReset = true
		return &cwmp.FactoryResetResponse{}, nil
	case *cwmp.ScheduleInform:
		return c.scheduleInform(m)
	case *cwmp.Download:
		return c.download(m)
	case *cwmp.ScheduleDownload:
		return c.scheduleDownload(m)
	case *cwmp.Upload:
		return c.upload(m)
	case *cwmp.CancelTransfer:
		return c.cancelTransfer(m)
	case *cwmp.GetQueuedTransfers:
		return c.getQueuedTransfers()
	case *cwmp.GetAllQueuedTransfers:
		return c.getAllQueuedTransfers()
	case *cwmp.ChangeDUState:
		return c.changeDUState(m)
	case *cwmp.GetOptions:
		return c.getOptions(m)
	case *cwmp.SetVouchers:
		return c.setVouchers(m)
	}
	if m, malformed := request.(*malformedRPC); malformed {
		return nil, cwmp.Faultf(cwmp.FaultInvalidArguments, "Invalid arguments: %s", m.why)
	}
	return nil, cwmp.Faultf(cwmp.FaultMethodNotSupported, "Method not supported: %s", request.RPC())
}

// methods is what the CPE answers to GetRPCMethods: what dispatch knows.
func (c *CPE) methods() []string {
	methods := []string{"GetRPCMethods", "SetParameterValues", "GetParameterValues", "GetParameterNames"}
	if !c.profile.NoAttributes {
		methods = append(methods, "SetParameterAttributes", "GetParameterAttributes")
	}
	methods = append(methods, "AddObject", "DeleteObject", "Reboot", "Download", "Upload", "ScheduleInform", "FactoryReset",
		"ScheduleDownload", "ChangeDUState", "GetOptions", "SetVouchers")
	if !c.profile.NoTransferQueue {
		methods = append(methods, "CancelTransfer", "GetQueuedTransfers", "GetAllQueuedTransfers")
	}
	return slices.DeleteFunc(methods, func(m string) bool { return slices.Contains(c.profile.UnlistedMethods, m) })
}

// status is what a change answers: 0, applied, unless the profile says else.
func (c *CPE) status() int {
	if c.profile.Status1Always {
		return 1
	}
	return 0
}

// setParameterKey keeps the key of the last change that succeeded (TR-069
// A.3.2.1). It is no value change: the ACS made it.
func (c *CPE) setParameterKey(key string) {
	c.tree.set(c.tree.model.root+"ManagementServer.ParameterKey", cloneString(key))
	c.dirty = true
}
