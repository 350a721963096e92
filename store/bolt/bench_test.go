package bolt

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/uspbridge/uspbridge/store"
)

// value is about the size of a device's tree.
var value = make([]byte, 6000)

func benchBatch(i int64) *store.Batch {
	var b store.Batch
	owner := fmt.Sprintf("00259E-HG8245-%08d", i%10_000)
	b.Put(store.Key{Kind: store.Device, Owner: owner}, value[:200])
	b.Put(store.Key{Kind: store.Tree, Owner: owner}, value)
	return &b
}

// BenchmarkCommit is one session's write, many sessions at a time.
func BenchmarkCommit(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := mustOpen(b, Config{Path: path(b)})
			var next atomic.Int64
			b.SetParallelism((callers + 1) / 2) // times GOMAXPROCS, 2 on the reference machine
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.Commit(b.Context(), benchBatch(next.Add(1))); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkEnqueue(b *testing.B) {
	s := mustOpen(b, Config{Path: path(b)})
	b.ReportAllocs()
	for i := range b.N {
		s.Enqueue(benchBatch(int64(i)), nil)
	}
	if err := s.Close(); err != nil { // counts until all is on disk
		b.Fatal(err)
	}
}

func BenchmarkGet(b *testing.B) {
	s := mustOpen(b, Config{Path: path(b), NoSync: true})
	for i := range int64(10_000) {
		s.Enqueue(benchBatch(i), nil)
	}
	if err := s.Commit(b.Context(), benchBatch(0)); err != nil {
		b.Fatal(err)
	}
	keys := make([]store.Key, 1024)
	for i := range keys {
		keys[i] = benchBatch(int64(i * 9)).Ops[0].Key
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := s.Get(b.Context(), keys[i%len(keys)]); err != nil {
			b.Fatal(err)
		}
	}
}
