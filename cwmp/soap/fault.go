package soap

import (
	"github.com/uspbridge/uspbridge/cwmp"
)

// faultMembers are the members of a fault structure: FaultStruct of a transfer,
// Fault of a DU operation.
var faultMembers = fields[cwmp.Fault]{
	faultCode("FaultCode", func(m *cwmp.Fault) *cwmp.FaultCode { return &m.Code }),
	text("FaultString", func(m *cwmp.Fault) *string { return &m.Text }),
}

var parameterFaultMembers = fields[cwmp.ParameterFault]{
	token("ParameterName", func(m *cwmp.ParameterFault) *cwmp.Path { return &m.Name }),
	faultCode("FaultCode", func(m *cwmp.ParameterFault) *cwmp.FaultCode { return &m.Code }),
	text("FaultString", func(m *cwmp.ParameterFault) *string { return &m.Text }),
}

// faultCode is a fault's code. One that is no number from 1 to 65535 stands for
// an internal error: the CPE did refuse, but what it said is lost. 0 is none.
func faultCode[T any](name string, at func(*T) *cwmp.FaultCode) field[T] {
	return field[T]{
		name: name,
		read: func(s *scanner, m *T) error {
			v, err := s.token()
			*at(m) = parseFaultCode(v)
			return err
		},
		write: func(w *writer, m *T) { w.integer(name, int64(*at(m))) },
	}
}

func parseFaultCode(v string) cwmp.FaultCode {
	n, ok := parseInteger(v)
	if !ok || n < 0 || n > 0xffff {
		return cwmp.FaultInternalError
	}
	return cwmp.FaultCode(n)
}

// faultFields is the fault structure of a TransferComplete or a DU result under
// its name and under the other that CPE give it, or its parts without it around
// them (tolerance faultAnywhere). Code 0 or absence is success, nil.
func faultFields[T any](name string, at func(*T) **cwmp.Fault) []field[T] {
	structure := func(s *scanner, m *T) error {
		var f cwmp.Fault
		if err := faultMembers.read(s, &f); err != nil {
			return err
		}
		if f.Code != 0 {
			*at(m) = &f
		}
		return nil
	}
	other := "Fault"
	if name == other {
		other = "FaultStruct"
	}
	return []field[T]{
		{name: name, read: structure, write: func(w *writer, m *T) { w.faultStruct(name, *at(m)) }},
		{name: other, read: structure},
		{name: "FaultCode", read: func(s *scanner, m *T) error {
			v, err := s.token()
			if code := parseFaultCode(v); err == nil && code != 0 {
				*at(m) = cwmp.NewFault(code)
			}
			return err
		}},
		{name: "FaultString", read: func(s *scanner, m *T) error {
			v, err := s.layoutText()
			if f := *at(m); err == nil && f != nil {
				f.Text = v
			}
			return err
		}},
	}
}

// soapFaultString is the faultstring of every CWMP fault (TR-069 3.5); it says
// nothing about this one.
const soapFaultString = "CWMP fault"

// readFault reads a SOAP fault with CWMP's fault inside its detail (TR-069
// 3.5). CPE leave the detail out, or put its parts elsewhere: they are taken
// where they are found. Without any code the fault is an internal error whose
// text is the faultstring (tolerance faultDetail).
func readFault(s *scanner) (*cwmp.Fault, error) {
	var f cwmp.Fault
	var soapText string
	for depth := len(s.open); len(s.open) >= depth; {
		local, more, err := s.child()
		if err != nil {
			return nil, err
		}
		if !more {
			continue
		}
		switch local {
		case "FaultCode":
			err = faultMembers[0].read(s, &f)
		case "FaultString":
			err = faultMembers[1].read(s, &f)
		case "faultstring":
			soapText, err = s.layoutText()
		case "faultcode":
			err = s.skip()
		case "SetParameterValuesFault":
			f.Parameters = append(f.Parameters, cwmp.ParameterFault{})
			err = parameterFaultMembers.read(s, &f.Parameters[len(f.Parameters)-1])
		}
		if err != nil {
			return nil, err
		}
	}
	if f.Code == 0 {
		f.Code = cwmp.FaultInternalError
	}
	if f.Text == "" && soapText != soapFaultString {
		f.Text = soapText
	}
	return &f, nil
}

// faultSource returns the faultcode of SOAP for a CWMP code, as the tables of
// TR-069 A.5 have it: "Client" if the request was wrong, "Server" for all else.
func faultSource(c cwmp.FaultCode) string {
	switch c {
	case cwmp.FaultInvalidArguments, cwmp.FaultInvalidParameterName, cwmp.FaultInvalidParameterType,
		cwmp.FaultInvalidParameterValue, cwmp.FaultNonWritableParameter,
		cwmp.FaultDownloadTimeWindow, cwmp.FaultCancelNotPermitted, cwmp.FaultACSInvalidArguments:
		return "Client"
	}
	return "Server"
}
