package translate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// profile returns how a device has to be treated.
func (b *Bridge) profile(r *Record) *mapping.Profile {
	return b.templates.mappings().Profile(identityOf(r))
}

// note keeps what a CPE has shown of itself. What is true of its model is shared
// at once, if its discovery has ended well: until then it is tried out.
func (b *Bridge) note(dev *device, what func(*Learnt)) {
	before := dev.state.Load().rec.Habits
	b.amend(dev, func(r *Record) { what(&r.Learnt) })
	if rec := dev.state.Load().rec; !rec.Rediscover && !reflect.DeepEqual(before, rec.Habits) {
		b.shareHabits(dev)
	}
}

// amend changes a device's record, durable behind the caller's back.
func (b *Bridge) amend(dev *device, what func(*Record)) {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	rec := dev.state.Load().rec.clone()
	what(rec)
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	b.keep(dev, &batch)
}

// acquaint begins with what is known of the model when a CPE is new or has a new
// firmware, and tries more again where an old limit has held for long.
func (b *Bridge) acquaint(ctx context.Context, _ acs.Caller, dev *device) error {
	rec := dev.state.Load().rec
	of := firmware(rec)
	if rec.LearntOf == of {
		if now := b.now(); rec.due(now) {
			b.note(dev, func(l *Learnt) { l.raise(now) })
		}
		return nil
	}
	habits, err := b.habitsOf(ctx, rec)
	if err != nil {
		return err
	}
	b.amend(dev, func(r *Record) {
		r.Learnt = Learnt{LearntOf: of, Habits: habits, Limited: b.now()}
		r.Denied = nil // another firmware may notify what the last one did not
		r.DiscoveryFailures, r.DiscoveryError, r.DiscoveryNext = 0, "", time.Time{}
	})
	return nil
}

// modelKey is where the habits of a device's model and firmware are. The data
// model's root is a part of what is learnt, not of the key.
func modelKey(r *Record) store.Key {
	m := productOf(r)
	m.root = ""
	sum := sha256.Sum256([]byte(m.String()))
	return store.Key{Kind: store.Model, Owner: hex.EncodeToString(sum[:16])}
}

// habitsOf returns what is known of a device's model, nothing of a new one.
func (b *Bridge) habitsOf(ctx context.Context, r *Record) (h Habits, err error) {
	text, err := b.store.Get(ctx, modelKey(r))
	if errors.Is(err, store.ErrNotFound) {
		return h, nil
	} else if err != nil {
		return h, fmt.Errorf("habits of the model: %w", err)
	}
	if err := json.Unmarshal(text, &h); err != nil {
		b.log.Error("what was learnt of a model cannot be read and is learnt anew", "device", r.Key(), "error", err)
		return Habits{}, nil
	}
	return h, nil
}

// shareHabits keeps what a device has taught for the next of its model. A device
// keeps its own; that the next may have to learn it too is all that a failure
// costs.
func (b *Bridge) shareHabits(dev *device) {
	rec := dev.state.Load().rec
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.Deadline)
	defer cancel()
	known, err := b.habitsOf(ctx, rec)
	if err == nil && reflect.DeepEqual(known, rec.Habits) {
		return
	}
	text, encodeErr := json.Marshal(rec.Habits)
	if err = errors.Join(err, encodeErr); err != nil {
		b.log.Warn("what was learnt of a CPE is not kept for the next of its model", "device", dev.key, "error", err)
		return
	}
	var batch store.Batch
	batch.Put(modelKey(rec), text)
	b.store.Enqueue(&batch, nil)
}

// The most that is kept of an answer to GetRPCMethods: all of TR-069 has 30.
const (
	maxMethods    = 100
	maxMethodName = 64
)

// askMethods asks a CPE once for each firmware which RPCs it serves.
func (b *Bridge) askMethods(ctx context.Context, cpe acs.Caller, dev *device) error {
	if dev.state.Load().rec.MethodsAsked {
		return nil
	}
	answer, err := cpe.Call(ctx, &cwmp.GetRPCMethods{})
	if err != nil && !isFault(err) && !isLost(err) {
		return err
	}
	var methods []string
	if got, ok := answer.(*cwmp.GetRPCMethodsResponse); ok {
		for _, m := range got.Methods[:min(len(got.Methods), maxMethods)] {
			if m = strings.TrimSpace(m); m != "" && len(m) <= maxMethodName {
				methods = append(methods, strings.Clone(m))
			}
		}
		slices.Sort(methods)
		methods = slices.Compact(methods)
	}
	// A CPE that refuses, or breaks the session, is not asked again.
	b.note(dev, func(l *Learnt) { l.Methods, l.MethodsAsked = methods, true })
	if isFault(err) {
		return nil
	}
	return err
}
