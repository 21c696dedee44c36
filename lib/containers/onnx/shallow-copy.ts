/** A copy of a message that shares what its fields hold. The prototype has the defaults of fields that are not set: a spread would lose them. */
export function shallowCopy<Message extends object>(message: Message): Message {
  return Object.assign(Object.create(Object.getPrototypeOf(message) as object) as Message, message);
}
