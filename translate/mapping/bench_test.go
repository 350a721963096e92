package mapping

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp/dm"
)

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	set, d := gatewaySet(b), gatewayTree(b)
	t := set.Presume(d.Template(), Identity{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := set.Compile(t, Identity{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompiledSize tells what a compiled template keeps in memory: one for each
// model and firmware, shared by its devices.
func BenchmarkCompiledSize(b *testing.B) {
	set, d := gatewaySet(b), gatewayTree(b)
	t := set.Presume(d.Template(), Identity{})
	var kept []*Program
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		p, err := set.Compile(t, Identity{})
		if err != nil {
			b.Fatal(err)
		}
		kept = append(kept, p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(kept)), "kept-B/op")
	b.ReportMetric(float64(len(d.Template().Params)), "parameters")
}

// BenchmarkView finds the rows of all tables, as a Get of the whole tree needs them.
func BenchmarkView(b *testing.B) {
	s := show(b, gatewaySet(b), gatewayTree(b))
	b.ReportAllocs()
	for b.Loop() {
		v := s.p.View(s.tree, s.n, nil)
		for _, t := range s.p.tables {
			v.rowsOf(t)
		}
	}
}

func BenchmarkReconcile(b *testing.B) {
	s := show(b, gatewaySet(b), gatewayTree(b))
	b.ReportAllocs()
	for b.Loop() {
		s.p.Reconcile(s.tree, s.n)
	}
}

func BenchmarkRead(b *testing.B) {
	s := show(b, gatewaySet(b), gatewayTree(b))
	for name, path := range map[string]string{
		"same": "Device.WiFi.SSID.1.SSID", "table": "Device.WiFi.AccessPoint.1.Security.ModeEnabled",
		"row": "Device.WiFi.SSID.1.LowerLayers", "count": "Device.WiFi.SSIDNumberOfEntries",
		"reference": "Device.Hosts.Host.1.Layer1Interface", "expression": "Device.WiFi.Radio.1.Channel",
	} {
		ref := s.ref(path)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Read(ref)
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	s := show(b, gatewaySet(b), gatewayTree(b))
	ref := s.ref("Device.WiFi.SSID.1.SSID")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Write(ref, "other", nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTargets(b *testing.B) {
	s := show(b, gatewaySet(b), gatewayTree(b))
	p, _ := s.tree.Template().Lookup("InternetGatewayDevice.LANDevice.{i}.WLANConfiguration.{i}.Status")
	b.ReportAllocs()
	for b.Loop() {
		s.Targets(p, dm.Inst(1, 5))
	}
}

func BenchmarkDecodeNumbers(b *testing.B) {
	s := show(b, gatewaySet(b), gatewayTree(b))
	blob := s.n.Encode()
	b.ReportAllocs()
	b.ReportMetric(float64(len(blob)), "stored-bytes")
	for b.Loop() {
		if _, err := DecodeNumbers(blob); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookup reads a reference by key in each of many rows, as a Get of all hosts
// of a large network does.
func BenchmarkLookup(b *testing.B) {
	var lines strings.Builder
	for i := range 250 {
		fmt.Fprintf(&lines, "InternetGatewayDevice.LANDevice.1.Hosts.Host.%d.MACAddress string 00:00:5E:00:53:%02X\n", i+1, i)
		fmt.Fprintf(&lines, "InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.AssociatedDevice.%d.AssociatedDeviceMACAddress string 00:00:5e:00:53:%02x\n", i+1, i)
	}
	s := show(b, gatewaySet(b), device(b, lines.String()))
	node := s.ref("Device.Hosts.Host.1.AssociatedDevice").Node
	rows := s.Instances(s.ref("Device.Hosts.Host."))
	b.ReportAllocs()
	for b.Loop() {
		v := s.p.View(s.tree, s.n, nil)
		for _, n := range rows {
			if text, _, _ := v.Read(dm.Ref{Node: node, Inst: dm.Inst(n)}); text == "" {
				b.Fatal("a host is no station")
			}
		}
	}
	b.ReportMetric(float64(len(rows)), "rows")
}
