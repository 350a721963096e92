package agent

import (
	"context"
	"strconv"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// The modes of Device.UnixDomainSockets.UnixDomainSocket.{i}.Mode.
const (
	socketListens  = "Listen"
	socketConnects = "Connect"
)

// socketObjects are the Unix domain sockets of the configuration (profiles
// UDSAgent:1 and UDSController:1, R-UDS.1). A controller can refer to them and add
// none: it would choose what on this machine the bridge connects to.
func socketObjects() []objectDecl {
	return []objectDecl{
		{path: "Device.UnixDomainSockets.", params: []paramDecl{entries("UnixDomainSocket", socketTable)}},
		{path: socketTable, kind: store.AgentState, fixed: [][]string{{"Alias"}, {"Path"}}, params: []paramDecl{
			{name: "Alias", typ: dm.TypeString},
			{name: "Mode", typ: dm.TypeString},
			{name: "Path", typ: dm.TypeString},
		}},
	}
}

// seedSockets adds the sockets and returns their instances by URL.
func (h *Host) seedSockets(ctx context.Context, s *state) (map[string]uint32, error) {
	modes := map[string]string{}
	var names []string
	add := func(url, mode string) {
		if url != "" && modes[url] == "" {
			modes[url] = mode
			names = append(names, url)
		}
	}
	add(h.cfg.AgentAddress(mtp.UDS, "").URL, socketListens)
	for _, c := range h.cfg.Controllers {
		if c.MTP.Protocol == mtp.UDS {
			add(c.MTP.URL, socketConnects)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	numbers, err := h.seedNumbers(ctx, "sockets", 1, names)
	if err != nil {
		return nil, err
	}
	for _, url := range names {
		s.put(h.spec.classAt(socketTable), dm.Inst(numbers[url]), map[string]string{"Mode": modes[url], "Path": url[len(unixScheme):]})
	}
	return numbers, nil
}

const unixScheme = "unix://"

// socketPath is a reference to a row of the sockets.
func socketPath(instance uint32) string {
	return "Device.UnixDomainSockets.UnixDomainSocket." + strconv.FormatUint(uint64(instance), 10)
}

// socketURL returns the socket that a controller's MTP row says to connect to, ""
// if the controller connects to us.
func socketURL(spec *localSpec, s *state, k rowKey) string {
	class := spec.classAt(socketTable)
	ref := s.named(k, "UDS.UnixDomainSocketRef")
	for other := range s.rows {
		if other.class == class && socketPath(other.inst.At(0)) == ref && s.named(other, "Mode") == socketConnects {
			return unixScheme + s.named(other, "Path")
		}
	}
	return ""
}
