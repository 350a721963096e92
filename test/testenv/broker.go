package testenv

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Mosquitto starts an MQTT broker and returns its host and port. Where it is not
// installed the test is skipped, but not in CI. So it is with the others.
func Mosquitto(t testing.TB) string {
	t.Helper()
	return MosquittoBroker(t).Address
}

// MosquittoBroker is Mosquitto that can be ended and started again.
func MosquittoBroker(t testing.TB) *Broker {
	t.Helper()
	program := installed(t, "mosquitto", "/usr/sbin/mosquitto")
	address, dir := FreeAddress(t), t.TempDir()
	host, port, _ := net.SplitHostPort(address) // FreeAddress made it
	config := filepath.Join(dir, "mosquitto.conf")
	write(t, config, fmt.Sprintf("listener %s %s\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nuser root\n", port, host))
	return newBroker(t, dir, address, nil, program, "-c", config)
}

// RabbitMQ starts a STOMP broker and returns its host and port. Its login is
// guest, guest; its host is "/".
func RabbitMQ(t testing.TB) string {
	t.Helper()
	return rabbitMQ(t, "stomp")
}

// RabbitMQForMQTT starts an MQTT broker that speaks 3.1.1 and returns its host and
// port. Its user name is guest, guest.
func RabbitMQForMQTT(t testing.TB) string {
	t.Helper()
	return rabbitMQ(t, "mqtt")
}

func rabbitMQ(t testing.TB, protocol string) string {
	t.Helper()
	// The program in PATH may be Debian's wrapper, which changes the user.
	program := installed(t, "/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
	mapper := installed(t, "epmd")
	dir := t.TempDir()
	address, amqp, distribution, epmd := FreeAddress(t), FreeAddress(t), FreeAddress(t), FreeAddress(t)
	write(t, filepath.Join(dir, "rabbitmq.conf"), "listeners.tcp.1 = "+amqp+"\n"+protocol+".listeners.tcp.1 = "+address+"\n")
	write(t, filepath.Join(dir, "enabled_plugins"), "[rabbitmq_"+protocol+"].\n")
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
	newBroker(t, dir, epmd, env, mapper)
	return newBroker(t, dir, address, env, program).Address
}

// activeMQConfig has the directory and the address.
const activeMQConfig = `<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
    http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="test" persistent="false" useJmx="false" dataDirectory="%s">
    <transportConnectors><transportConnector name="stomp" uri="stomp://%s"/></transportConnectors>
  </broker>
</beans>
`

// ActiveMQ starts a STOMP broker that can be ended and started again. It takes any
// login and host.
func ActiveMQ(t testing.TB) *Broker {
	t.Helper()
	const home = "/usr/share/activemq"
	java := installed(t, "java")
	installed(t, "activemq")
	address, dir := FreeAddress(t), t.TempDir()
	config := filepath.Join(dir, "activemq.xml")
	write(t, config, fmt.Sprintf(activeMQConfig, dir, address))
	return newBroker(t, dir, address, nil, java, "-Xmx128M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dactivemq.home="+home, "-Dactivemq.base="+dir, "-Dactivemq.conf="+dir, "-Dactivemq.data="+dir,
		"-jar", filepath.Join(home, "bin", "activemq.jar"), "start", "xbean:file:"+config)
}

// Broker is a broker that a test can treat as machines and operators do.
type Broker struct {
	Address string // host and port

	t   testing.TB
	dir string
	run func() *exec.Cmd
	cmd *exec.Cmd
	end func()
}

func newBroker(t testing.TB, dir, address string, env []string, program string, args ...string) *Broker {
	t.Helper()
	b := &Broker{Address: address, t: t, dir: dir, run: func() *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = env
		return cmd
	}}
	b.Start()
	return b
}

// Start starts it, or starts it again, at the same address.
func (b *Broker) Start() {
	b.t.Helper()
	b.cmd = b.run()
	b.end = startBroker(b.t, b.cmd, b.dir, b.Address)
}

// Kill ends it as a power failure does: kill -9.
func (b *Broker) Kill() { b.end() }

// Freeze stops it as it is: its connections stay, and nothing is read from them.
func (b *Broker) Freeze() { signalGroup(b.t, b.cmd, syscall.SIGSTOP) }

// Thaw lets it go on.
func (b *Broker) Thaw() { signalGroup(b.t, b.cmd, syscall.SIGCONT) }

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
