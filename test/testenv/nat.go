package testenv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// namespacePrefix begins the names of network namespaces; the number of the
// process that made them follows.
const namespacePrefix = "uspbridge-"

// NAT is a home network behind a NAT, made of network namespaces:
//
//	this namespace ── Outside ──── gateway (masquerades) ──── Inside ── home
//
// The gateway lets in only what answers something that went out, from the very
// address and port that it went to. Nothing of it leaves the machine.
type NAT struct {
	Outside string // this side's IP address, where servers listen; it is not of private use
	Inside  string // the IP address of a device at home
	Gateway string // the IP address that devices at home are seen under

	t    testing.TB
	home string // namespace
}

// NewNAT makes a NAT that ends with the test. Where it cannot be made the test is
// skipped, but not in CI.
func NewNAT(t testing.TB) *NAT {
	t.Helper()
	for _, program := range []string{"ip", "iptables", "sysctl"} {
		installed(t, program, "/usr/sbin/"+program, "/sbin/"+program)
	}
	removeStale(t)
	// 198.18.0.0/15 is for tests of networks (RFC 2544). Each process has a network
	// of its own, so that several can run at once.
	pid := os.Getpid()
	a, b := byte(pid>>6), byte(pid<<2)
	n := &NAT{t: t,
		Outside: fmt.Sprintf("198.18.%d.%d", a, b|1), Gateway: fmt.Sprintf("198.18.%d.%d", a, b|2),
		Inside: fmt.Sprintf("10.%d.%d.7", 64|pid>>8&63, pid&255), home: namespacePrefix + strconv.Itoa(pid) + "-home",
	}
	gateway, router := namespacePrefix+strconv.Itoa(pid)+"-gateway", n.Inside[:strings.LastIndexByte(n.Inside, '.')]+".1"
	link, lan := "ub"+strconv.Itoa(pid), n.Inside[:strings.LastIndexByte(n.Inside, '.')]+".0/24"
	t.Cleanup(func() {
		for _, namespace := range []string{n.home, gateway} {
			run(t, "ip", "netns", "del", namespace)
		}
		// The link is gone with its other end, though not at once.
		_ = exec.Command("ip", "link", "del", link).Run()
	})
	for _, step := range []string{
		"ip netns add " + gateway,
		"ip netns add " + n.home,
		"ip link add " + link + " type veth peer name wan netns " + gateway,
		"ip addr add " + n.Outside + "/30 dev " + link,
		"ip link set " + link + " up",
		"ip route add " + lan + " via " + n.Gateway, // as if the address were not private: it is the NAT that stops what comes
		"ip -n " + gateway + " addr add " + n.Gateway + "/30 dev wan",
		"ip -n " + gateway + " link set wan up",
		"ip -n " + gateway + " link add lan type veth peer name eth0 netns " + n.home,
		"ip -n " + gateway + " addr add " + router + "/24 dev lan",
		"ip -n " + gateway + " link set lan up",
		"ip -n " + n.home + " addr add " + n.Inside + "/24 dev eth0",
		"ip -n " + n.home + " link set eth0 up",
		"ip -n " + n.home + " link set lo up",
		"ip -n " + n.home + " route add default via " + router,
		"ip netns exec " + gateway + " sysctl -qw net.ipv4.ip_forward=1",
		"ip netns exec " + gateway + " iptables -t nat -A POSTROUTING -o wan -j MASQUERADE",
		"ip netns exec " + gateway + " iptables -P FORWARD DROP",
		"ip netns exec " + gateway + " iptables -A FORWARD -i lan -j ACCEPT",
		"ip netns exec " + gateway + " iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
	} {
		words := strings.Fields(step)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			message := fmt.Sprintf("no network namespaces can be made here: %s: %v: %s", step, err, bytes.TrimSpace(out))
			if os.Getenv("CI") == "true" {
				t.Fatal(message)
			}
			t.Skip(message)
		}
	}
	return n
}

// removeStale removes the namespaces of processes that were killed.
func removeStale(t testing.TB) {
	names, err := filepath.Glob("/run/netns/" + namespacePrefix + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		name = filepath.Base(name)
		number, _, _ := strings.Cut(strings.TrimPrefix(name, namespacePrefix), "-")
		pid, err := strconv.Atoi(number)
		if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			run(t, "ip", "netns", "del", name)
		}
	}
}

// run runs a command of cleaning up; what is not there need not be removed.
func run(t testing.TB, name string, args ...string) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("No such file")) {
		t.Errorf("%s %v: %v: %s", name, args, err, out)
	}
}

// AtHome runs a program of this module in the home network until the test ends.
func (n *NAT) AtHome(p *Program, args ...string) {
	n.t.Helper()
	output, err := os.Create(filepath.Join(n.t.TempDir(), "home.log"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer output.Close() // the child has its own descriptor
	cmd := exec.Command("ip", append([]string{"netns", "exec", n.home, p.Path(n.t)}, args...)...)
	cmd.Stdout, cmd.Stderr = output, output
	inOwnGroup(cmd)
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed in the end
	}()
	n.t.Cleanup(func() {
		killGroup(n.t, cmd)
		<-ended
		if text, err := os.ReadFile(output.Name()); n.t.Failed() && err == nil {
			n.t.Logf("at home:\n%s", text)
		}
	})
}
