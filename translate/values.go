package translate

import (
	"context"
	"errors"
	"fmt"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// defaultMaxNames is how many names one GetParameterValues carries for a CPE of
// which nothing else is known. CPE have been seen to refuse 32; most bear
// hundreds, and fewer calls make shorter sessions.
const defaultMaxNames = 200

// reading is the outcome of reading parameters from a CPE.
type reading struct {
	values []cwmp.ParameterValue
	absent []cwmp.Path // the CPE says that it does not have them
	given  int         // most names one call may carry, as it was known
	max    int         // the same, as it is known now
	denied int         // parameters that the CPE refused for a reason of their own
}

// learnt returns the most names that a call may carry, if that is less than was
// known; else 0.
func (r *reading) learnt() int {
	if r == nil || r.max >= r.given {
		return 0
	}
	return r.max
}

// readValues reads parameters by their full names, in calls of at most max
// names. It copes with what CPE do: a call refused because of its size is
// halved and the size remembered; one unknown name that fails a whole call is
// found by bisection; names left out of an answer are asked again by themselves,
// for as long as that brings any.
// Partial paths are never asked for: some CPE crash on them. If it fails it
// returns what was read.
func readValues(ctx context.Context, cpe acs.Caller, names []cwmp.Path, max int) (*reading, error) {
	if max <= 0 {
		max = defaultMaxNames
	}
	r := &reading{given: max, max: max, values: make([]cwmp.ParameterValue, 0, len(names))}
	// Every name is asked for in a call that succeeds, a few again without the
	// others; bisection doubles that at worst.
	budget := 4*len(names) + 16
	for len(names) > 0 {
		missing, err := r.readAll(ctx, cpe, names, &budget)
		if err != nil {
			return r, err
		}
		if len(missing) == len(names) {
			r.absent = append(r.absent, missing...)
			break
		}
		names = missing
	}
	return r, nil
}

// readAll reads names call by call and returns those that answers left out.
func (r *reading) readAll(ctx context.Context, cpe acs.Caller, names []cwmp.Path, budget *int) (missing []cwmp.Path, err error) {
	for len(names) > 0 {
		n := min(r.max, len(names))
		left, err := r.readSome(ctx, cpe, names[:n], budget)
		if err != nil {
			return nil, err
		}
		missing = append(missing, left...)
		names = names[n:]
	}
	return missing, nil
}

// readSome makes one call, and further ones of half the size while the CPE
// refuses.
func (r *reading) readSome(ctx context.Context, cpe acs.Caller, names []cwmp.Path, budget *int) (missing []cwmp.Path, err error) {
	if *budget--; *budget < 0 {
		return nil, fmt.Errorf("the CPE refuses GetParameterValues again and again; %d parameters were read", len(r.values))
	}
	answer, err := cpe.Call(ctx, &cwmp.GetParameterValues{Names: names})
	var fault *cwmp.Fault
	if errors.As(err, &fault) {
		return r.halve(ctx, cpe, names, fault, budget)
	} else if err != nil {
		return nil, err
	}
	got, ok := answer.(*cwmp.GetParameterValuesResponse)
	if !ok {
		return nil, fmt.Errorf("the CPE answered GetParameterValues with %s", answer.RPC())
	}
	return r.take(names, got.Values), nil
}

// halve deals with a refused call: a single name that the CPE does not know is
// absent, refused for another reason it stays as it was; more names are asked for
// in two halves. If those go well, the call was too large, and later ones are
// smaller.
func (r *reading) halve(ctx context.Context, cpe acs.Caller, names []cwmp.Path, fault *cwmp.Fault, budget *int) ([]cwmp.Path, error) {
	if len(names) == 1 {
		r.denied++
		if fault.Code == cwmp.FaultInvalidParameterName {
			r.absent = append(r.absent, names[0])
		}
		return nil, nil
	}
	before := r.denied
	half := len(names) / 2
	first, err := r.readSome(ctx, cpe, names[:half], budget)
	if err != nil {
		return nil, err
	}
	second, err := r.readAll(ctx, cpe, names[half:], budget) // by what the first half has taught
	// If the session breaks in the second half, what the first has shown counts.
	if r.denied == before && fault.Code != cwmp.FaultInvalidParameterName {
		r.max = max(1, min(r.max, half))
	}
	return append(first, second...), err
}

// take keeps the values of an answer that were asked for and returns the names
// for which there was none.
func (r *reading) take(names []cwmp.Path, values []cwmp.ParameterValue) (missing []cwmp.Path) {
	// The usual answer has the names in the order of the request.
	if len(values) == len(names) {
		same := true
		for i := range names {
			if values[i].Name != names[i] {
				same = false
				break
			}
		}
		if same {
			r.values = append(r.values, values...)
			return nil
		}
	}
	want := make(map[cwmp.Path]bool, len(names))
	for _, n := range names {
		want[n] = true
	}
	for _, v := range values {
		if want[v.Name] {
			r.values = append(r.values, v)
			delete(want, v.Name)
		}
	}
	for _, n := range names {
		if want[n] {
			missing = append(missing, n)
		}
	}
	return missing
}
