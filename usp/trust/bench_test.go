package trust

import (
	"context"
	"crypto/x509"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
)

// BenchmarkVerify judges a controller's certificate below an intermediate CA.
func BenchmarkVerify(b *testing.B) {
	root := pki.NewCA(b, "root")
	middle := root.Intermediate("middle")
	chain := []*x509.Certificate{middle.Endpoint(controller.URN()).Cert, middle.Cert}
	bench := newBench(b)
	bench.files.cas = []*x509.Certificate{root.Cert}
	b.ReportAllocs()
	for b.Loop() {
		if err := bench.Verify(context.Background(), "", controller, chain); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCertificate gives an agent the certificate that it has.
func BenchmarkCertificate(b *testing.B) {
	bench := newBench(b)
	bench.certificate(b, testAgent)
	b.ReportAllocs()
	for b.Loop() {
		bench.certificate(b, testAgent)
	}
}

// BenchmarkIssue gives agents their first certificates, many at once.
func BenchmarkIssue(b *testing.B) {
	bench := newBench(b)
	bench.certificate(b, testAgent)
	b.ReportAllocs()
	b.SetParallelism(16)
	var n atomic.Int64
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			bench.certificate(b, usp.EndpointID(fmt.Sprintf("os::00259E-%d", n.Add(1))))
		}
	})
}
