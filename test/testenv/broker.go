package testenv

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Mosquitto starts an MQTT broker and returns its host and port. Where it is not
// installed the test is skipped, but not in CI.
func Mosquitto(t testing.TB) string {
	t.Helper()
	program := installed(t, "mosquitto", "/usr/sbin/mosquitto")
	address, dir := FreeAddress(t), t.TempDir()
	host, port, _ := net.SplitHostPort(address) // FreeAddress made it
	config := filepath.Join(dir, "mosquitto.conf")
	write(t, config, fmt.Sprintf("listener %s %s\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nuser root\n", port, host))
	startBroker(t, exec.Command(program, "-c", config), dir, address)
	return address
}

// RabbitMQ starts a STOMP broker and returns its host and port. Its login is
// guest, guest; its host is "/". Where it is not installed the test is skipped,
// but not in CI.
func RabbitMQ(t testing.TB) string {
	t.Helper()
	// The program in PATH may be Debian's wrapper, which changes the user.
	program := installed(t, "/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
	mapper := installed(t, "epmd")
	dir := t.TempDir()
	stomp, amqp, distribution, epmd := FreeAddress(t), FreeAddress(t), FreeAddress(t), FreeAddress(t)
	write(t, filepath.Join(dir, "rabbitmq.conf"), "listeners.tcp.1 = "+amqp+"\nstomp.listeners.tcp.1 = "+stomp+"\n")
	write(t, filepath.Join(dir, "enabled_plugins"), "[rabbitmq_stomp].\n")
	env := append(os.Environ(),
		"HOME="+dir,
		"RABBITMQ_NODENAME=uspbridge-test@localhost",
		"RABBITMQ_DIST_PORT="+portOf(distribution),
		"RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "enabled_plugins"),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"),
		"RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"),
		"RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		"ERL_EPMD_PORT="+portOf(epmd),
		"ERL_EPMD_ADDRESS=127.0.0.1",
	)
	// Erlang's port mapper would be started as a daemon and outlive the test.
	daemon := exec.Command(mapper)
	daemon.Env = env
	startBroker(t, daemon, dir, epmd)
	server := exec.Command(program)
	server.Env = env
	startBroker(t, server, dir, stomp)
	return stomp
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// installed returns the first of several programs that is there.
func installed(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if file, err := exec.LookPath(name); err == nil {
			return file
		}
	}
	message := names[0] + " is not installed; test/setup.sh installs it"
	if os.Getenv("CI") == "true" {
		t.Fatal(message)
	}
	t.Skip(message)
	return ""
}

// brokerPatience bounds the start of a broker: RabbitMQ takes seconds of two
// processors, which it may have to share.
const brokerPatience = Patience

// startBroker runs a program until the test ends, or stop is called, and waits
// until it listens.
func startBroker(t testing.TB, cmd *exec.Cmd, dir, address string) (stop func()) {
	t.Helper()
	name := filepath.Base(cmd.Path)
	output, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close() // the child has its own descriptor
	cmd.Stdout, cmd.Stderr = output, output
	inOwnGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed in the end
	}()
	stop = sync.OnceFunc(func() {
		killGroup(t, cmd)
		<-ended
	})
	t.Cleanup(stop)
	listening := within(t, brokerPatience, func() bool {
		select {
		case <-ended:
			return true
		default:
			return listens(address)
		}
	})
	if !listening || !listens(address) {
		text, _ := os.ReadFile(output.Name())
		t.Fatalf("%s does not listen on %s:\n%s", name, address, text)
	}
	return stop
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
