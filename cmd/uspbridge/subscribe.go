package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// notifyTypes are the values of Subscription.{i}.NotifType.
var notifyTypes = []string{"ValueChange", "ObjectCreation", "ObjectDeletion", "Event", "OperationComplete"}

// subscriptionTable is where an agent keeps its subscriptions.
const subscriptionTable = "Device.LocalAgent.Subscription."

func (a *app) subscribeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "subscribe --to ENDPOINT PATH…", Short: "Print notifications of an agent as they come",
		Long: "Print notifications of an agent as they come, until interrupted, --count have come or --for is over.\n" +
			"The subscription is deleted at the end.",
		Example: "  uspbridge subscribe --to os::00259E-1 --type ValueChange Device.WiFi.SSID.1.SSID\n" +
			"  uspbridge subscribe --to os::00259E-1 --type Event 'Device.Boot!'",
		Args: takes(cobra.MinimumNArgs(1), "at least one path"),
	}
	f := a.addAgentFlags(cmd)
	kind := cmd.Flags().String("type", "ValueChange", "kind of notification: "+strings.Join(notifyTypes, ", "))
	count := cmd.Flags().Int("count", 0, "end after so many notifications (0: go on)")
	length := cmd.Flags().Duration("for", 0, "end after this time (0: go on)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(notifyTypes, *kind) {
			return usagef("--type %q is not one of %s%s", *kind, strings.Join(notifyTypes, ", "), suggestion(*kind, notifyTypes))
		}
		if *count < 0 || *length < 0 {
			return usagef("--count and --for cannot be negative")
		}
		return a.withOpenAgent(cmd.Context(), f, func(ctx context.Context, s session) error {
			return a.follow(ctx, s, f.timeout, *kind, args, *count, *length)
		})
	}
	return cmd
}

// follow subscribes and prints notifications. Being interrupted is its ordinary
// end; too few notifications in the time given is a failure.
func (a *app) follow(ctx context.Context, s session, timeout time.Duration, kind string, paths []string, count int, length time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	sub, err := s.subscribe(limited, kind, paths)
	cancel()
	if err != nil {
		return err
	}
	defer sub.cancel(ctx)
	if !a.json {
		fmt.Fprintf(a.stderr, "subscribed as %s; waiting for notifications, Ctrl-C ends\n", sub.path)
	}
	if length > 0 {
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
	}
	for n := 0; count == 0 || n < count; n++ {
		notify, err := sub.next(ctx)
		if ctx.Err() != nil {
			if count > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%d of %d notifications came within %v", n, count, length)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := a.printNotification(notify); err != nil {
			return err
		}
	}
	return nil
}

// subscription is a row of the agent's Subscription table, made by this program.
type subscription struct {
	session
	id   string
	path string
}

// subscribe creates a subscription that is gone after a restart of the bridge,
// should this program not live to delete it.
func (s session) subscribe(ctx context.Context, kind string, paths []string) (*subscription, error) {
	sub := &subscription{session: s, id: "cli-" + uuid.NewString()}
	msg, err := newAdd(subscriptionTable, []string{"Enable=true", "ID=" + sub.id, "NotifType=" + kind,
		"ReferenceList=" + strings.Join(paths, ","), "Persistent=false"}, false)
	if err != nil {
		return nil, err
	}
	resp, err := s.Add(ctx, s.agent, msg)
	if err != nil {
		return nil, err
	}
	r := readAddResp(resp)
	if err := failures(r.Errors); err != nil {
		return nil, err
	}
	if len(r.Created) != 1 {
		return nil, fmt.Errorf("the agent's answer to Add has %d rows instead of one", len(r.Created))
	}
	sub.path = r.Created[0].Path
	return sub, nil
}

// next returns the next notification of this subscription.
func (sub *subscription) next(ctx context.Context) (*usppb.Notify, error) {
	for {
		select {
		case n, ok := <-sub.Notifications():
			if !ok {
				return nil, errors.New("the bridge closed the connection")
			}
			if n.Agent == sub.agent && n.Notify.GetSubscriptionId() == sub.id {
				return n.Notify, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// cancel deletes the subscription, also after ctx has ended.
func (sub *subscription) cancel(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	// If it fails, the connection is gone, and the subscription with it: the
	// agent drops what the built-in controller left behind.
	_, _ = sub.Delete(ctx, sub.agent, &usppb.Delete{ObjPaths: []string{sub.path}})
}

// notification is a Notify message for people and for --json.
type notification struct {
	Time    string            `json:"time"`
	Type    string            `json:"type"`
	Path    string            `json:"path"`
	Value   *string           `json:"value,omitempty"`
	Args    map[string]string `json:"args,omitempty"`
	Failure *pathError        `json:"failure,omitempty"`
}

func readNotify(n *usppb.Notify, at time.Time) notification {
	out := notification{Time: utc(at)}
	switch {
	case n.GetValueChange() != nil:
		v := n.GetValueChange()
		out.Type, out.Path, out.Value = "ValueChange", v.GetParamPath(), &v.ParamValue
	case n.GetObjCreation() != nil:
		out.Type, out.Path, out.Args = "ObjectCreation", n.GetObjCreation().GetObjPath(), n.GetObjCreation().GetUniqueKeys()
	case n.GetObjDeletion() != nil:
		out.Type, out.Path = "ObjectDeletion", n.GetObjDeletion().GetObjPath()
	case n.GetEvent() != nil:
		e := n.GetEvent()
		out.Type, out.Path, out.Args = "Event", e.GetObjPath()+e.GetEventName(), e.GetParams()
	case n.GetOperComplete() != nil:
		o := n.GetOperComplete()
		out.Type, out.Path, out.Args = "OperationComplete", o.GetObjPath()+o.GetCommandName(), o.GetReqOutputArgs().GetOutputArgs()
		if fail := o.GetCmdFailure(); fail != nil {
			out.Failure = newPathError(out.Path, fail.GetErrCode(), fail.GetErrMsg())
		}
	}
	return out
}

func (a *app) printNotification(n *usppb.Notify) error {
	out := readNotify(n, time.Now())
	line := out.Time + " " + out.Type + " " + printable(out.Path)
	if out.Value != nil {
		line += "=" + printable(*out.Value)
	}
	for _, name := range slices.SortedFunc(maps.Keys(out.Args), comparePaths) {
		line += " " + printable(name) + "=" + printable(out.Args[name])
	}
	if out.Failure != nil {
		line += " failed: " + out.Failure.String()
	}
	return a.printLine(out, line)
}
