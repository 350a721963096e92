package soap_test

import (
	"fmt"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

func benchValues(n int) []cwmp.ParameterValue {
	list := make([]cwmp.ParameterValue, n)
	for i := range list {
		list[i] = stringValue(fmt.Sprintf("InternetGatewayDevice.LANDevice.1.WLANConfiguration.%d.X_Parameter%d", i/40+1, i), "some value 192.168.1.1")
	}
	return list
}

var benchMessages = []struct {
	name string
	body cwmp.Message
}{
	{"Inform10", &cwmp.Inform{DeviceID: testDevice, Events: []cwmp.Event{{Code: cwmp.EventPeriodic}}, MaxEnvelopes: 1,
		CurrentTime: "2024-02-29T12:00:00Z", ParameterList: benchValues(10)}},
	{"GetParameterValuesResponse800", &cwmp.GetParameterValuesResponse{Values: benchValues(800)}},
	{"EmptyResponse", &cwmp.RebootResponse{}},
}

func BenchmarkRead(b *testing.B) {
	for _, m := range benchMessages {
		body := soap.Append(nil, &soap.Envelope{ID: "1", Body: m.body})
		b.Run(m.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := soap.Read(body, "text/xml", soap.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, m := range benchMessages {
		e := &soap.Envelope{ID: "1", Body: m.body}
		dst := soap.Append(nil, e)
		b.Run(m.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(dst)))
			for b.Loop() {
				dst = soap.Append(dst[:0], e)
			}
		})
	}
}
