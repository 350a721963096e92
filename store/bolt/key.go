package bolt

import (
	"bytes"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/uspbridge/uspbridge/store"
)

// separator stands between owner and name; no owner contains it, so that keys
// sort by owner, then name.
const separator = 0

// bucketName returns the name of a kind's bucket.
func bucketName(k store.Kind) []byte { return []byte{byte(k)} }

// appendKey appends the key of a record within its bucket.
func appendKey(b []byte, owner, name string) []byte {
	b = append(b, owner...)
	b = append(b, separator)
	return append(b, name...)
}

// splitKey is the way back.
func splitKey(key []byte) (owner, name []byte) {
	owner, name, _ = bytes.Cut(key, []byte{separator})
	return owner, name
}

// checkKey tells why a record cannot have that key.
func checkKey(k store.Key) error {
	switch {
	case k.Kind == 0 || k.Kind >= store.Kinds:
		return fmt.Errorf("store: kind %d of record %q %q does not exist", k.Kind, k.Owner, k.Name)
	case strings.IndexByte(k.Owner, separator) >= 0:
		return fmt.Errorf("store: owner %q of a record contains a zero byte", k.Owner)
	case len(k.Owner)+1+len(k.Name) > bbolt.MaxKeySize:
		return fmt.Errorf("store: owner and name of a record have %d bytes, at most %d are possible", len(k.Owner)+len(k.Name), bbolt.MaxKeySize-1)
	}
	return nil
}

// checkBatch finds what the writer could only fail on in the middle of a
// transaction, and returns the bytes that the batch takes in the queue.
func checkBatch(b *store.Batch) (size int, err error) {
	const perOp = 96 // the Op itself and its place in a page
	for i := range b.Ops {
		op := &b.Ops[i]
		if err := checkKey(op.Key); err != nil {
			return 0, err
		}
		if len(op.Value) > bbolt.MaxValueSize {
			return 0, fmt.Errorf("store: value of record %q %q has %d bytes, at most %d are possible", op.Key.Owner, op.Key.Name, len(op.Value), bbolt.MaxValueSize)
		}
		if op.Key.Kind == store.Meta && op.Key.Owner == schemaOwner {
			return 0, fmt.Errorf("store: owner %q of kind Meta is the store's own", schemaOwner)
		}
		size += len(op.Key.Owner) + len(op.Key.Name) + len(op.Value) + len(op.Expect) + perOp
	}
	return size, nil
}
